import { z } from "zod";
import { isReservedHeader } from "../pack/reserved-headers.ts";
import { namedRegionOf } from "../queue/sqs-url.ts";
import { policiesSchema, vpcSchema } from "./aws-schema.ts";
import {
  duration,
  headerName,
  headerValue,
  isLoopback,
  parseOrigin,
  percentage,
  rate,
  regex,
  region,
  requestKey,
  section,
  sqsUrl,
  stickyBy,
  when,
  written,
} from "./forms.ts";
import { explainTimes, parseTimes } from "./time-windows.ts";

// Not looked up here: an agent on another machine may share the file, and not have what only the replay needs.
const fromEnvironment = section({
  env: z
    .string()
    .regex(/^[A-Za-z_]\w*$/, { error: "is not the name of an environment variable" })
    .describe("Environment variable of the process that replays"),
});

const replayHeaderValue = z.union([headerValue, fromEnvironment], {
  error: "must be a text without line breaks or control characters, in quotes where it is a number, or { env: NAME }",
});

const secretText = z.union([z.string(), fromEnvironment], {
  error: "must be a text, in quotes where it is a number, or { env: NAME }",
});

const times = z
  .union([z.string(), z.array(z.string()).min(1)], {
    error: 'must be times such as "22:00-06:00 Europe/Berlin", or a list of them',
  })
  .transform((texts) => (typeof texts === "string" ? [texts] : texts))
  .pipe(
    z.array(
      written(parseTimes, "a span of time", ["22:00-06:00 Europe/Berlin", "Mon-Fri 08:00-18:00 UTC"], explainTimes),
    ),
  );

const breaker = section({
  failures: z.int().min(1).max(1_000_000).default(10).describe("Failures one after the other that open it"),
  probeAfter: duration("100ms", "30s").prefault("1s").describe("Until the first probe; then twice as long each time"),
});

const tls = section({
  ca: z.string().describe("PEM file with the certificate authority to trust, relative to this file").optional(),
  verify: z.boolean().default(true).describe("Whether the shadow's certificate is checked"),
  serverName: z.string().describe("Name to ask for and to check instead of the URL's host").optional(),
});

// It is told secrets.
const tokenUrl = written(
  (text) => {
    const url = URL.parse(text);
    const safe =
      url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url.hostname.replace(/^\[|\]$/g, "")));
    return url && safe && !url.username && !url.password ? url : undefined;
  },
  "the URL of a token endpoint, https or on this machine, without a password",
  ["https://login.example/oauth2/token", "http://127.0.0.1:8090/token"],
);

const token = section({
  command: z
    .array(z.string(), { error: "must be a list: the program and its arguments" })
    .min(1, { error: "must name a program" })
    .describe("Program and arguments that print a token, or JSON with one; run without a shell")
    .optional(),
  url: tokenUrl
    .describe("Answers with a token, or JSON with one; POST where there is form or json, else GET")
    .optional(),
  form: z.record(z.string(), secretText).describe("Body of the call, as of a form").optional(),
  json: z.record(z.string(), secretText).describe("Body of the call, as JSON").optional(),
  headers: z.record(headerName, replayHeaderValue).describe("Headers of the call").default({}),
  field: z.string().min(1).default("access_token").describe("Where the token stands in JSON"),
  expires: duration("10s", "365d")
    .prefault("15m")
    .describe("How long a token holds where neither expires_in nor a 401 says otherwise"),
  header: headerName
    .refine((name) => !isReservedHeader(name), { error: "is a header that spoa-relay writes itself" })
    .default("authorization")
    .describe("Header of the replayed requests that the token goes into"),
  format: headerValue
    .refine((text) => text.includes("{token}"), { error: "must hold {token}" })
    .default("Bearer {token}")
    .describe("What that header says"),
}).superRefine(({ command, url, form, json, headers }, context) => {
  const mistake = (message: string, path: string[] = []) => context.addIssue({ code: "custom", path, message });
  if ((command === undefined) === (url === undefined)) mistake("needs either command or url");
  if (form && json) mistake("is one of two: form or json", ["json"]);
  if (url) return;
  for (const [key, value] of Object.entries({ form, json })) if (value) mistake("is for url", [key]);
  if (Object.keys(headers).length > 0) mistake("is for url", ["headers"]);
});

const sign = section({
  service: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, { error: "must be the name of a service as it stands in signatures, such as lambda" })
    .describe("AWS service that is asked: execute-api, lambda, s3, …"),
  region: region.describe("Its region; that of the target by default").optional(),
  profile: z.string().min(1).describe("Profile of the AWS configuration, in place of the usual credentials").optional(),
});

export const targetSchema = section({
  url: written(parseOrigin, "an origin without a path", ["http://127.0.0.1:8082", "https://staging.example"]).describe(
    "The shadow. Requests leave for this origin and no other",
  ),
  rate: rate.describe("The most requests that the shadow receives: per second, minute or hour, or unlimited"),
  sample: percentage.default(1).describe("Share of the requests that is replayed"),
  stickyBy: stickyBy.describe("All requests with the same key are in, or all are out").optional(),
  when: when.describe("Only requests that match").optional(),
  concurrency: z.int().min(1).max(10_000).default(64).describe("Requests under way at once, per replay process"),
  timeout: duration("1ms", "15m").default(10_000).describe("Until the shadow has answered, 15m at most"),
  attempts: z.int().min(1).max(200).default(20).describe("Deliveries tried before a request becomes a dead letter"),
  maxAge: duration("1ms", "365d").describe("Requests older than this are not sent any more").optional(),
  host: z
    .string()
    .regex(/^[!-~]+$/, { error: "must be target, original, or a host without spaces" })
    .default("target")
    .describe("Host header: target, original, or a literal host"),
  path: z
    .union(
      [
        section({ prefix: z.string().regex(/^\/[!-~]*$/, { error: "must begin with /" }) }),
        section({ match: regex, replace: z.string().regex(/^[!-~]*$/) }),
      ],
      { error: "must have either the key prefix, or the keys match and replace" },
    )
    .describe("Rewrite: put a prefix before the path, or replace what a regular expression matches")
    .optional(),
  headers: section({
    set: z
      .record(headerName, replayHeaderValue)
      .refine((set) => !Object.keys(set).some(isReservedHeader), {
        error:
          "host has a key of its own; X-Mirror-*, Content-Length and headers of the connection are written by spoa-relay",
      })
      .default({}),
    remove: z.array(headerName).default([]),
  })
    .default({ set: {}, remove: [] })
    .describe("Header changes; a value is a text, or { env: NAME } for a variable of the process that replays"),
  token: token.describe("A fresh token in place of captured credentials").optional(),
  sign: sign.describe("Signs requests for AWS, Signature Version 4, after all other changes").optional(),
  truncated: z.enum(["skip", "send"]).default("skip").describe("What becomes of requests whose body is not complete"),
  tls: tls.default({ verify: true }),
  window: times.describe("Requests are sent within these times only, and wait outside of them").optional(),
  blackout: times.describe("No requests are sent within these times, whatever window says").optional(),
  order: z
    .literal("byKey", { error: "must be byKey, or left out" })
    .describe("The requests of one key are sent one after the other, in the order of their capture")
    .optional(),
  key: requestKey.describe("For order: byKey").optional(),
  breaker: breaker.prefault({}).describe("Stops sending to a shadow that fails again and again"),
  queue: sqsUrl
    .describe("With state in DynamoDB: the queue of this target, also in another region; QUEUE-TARGET by default")
    .optional(),
  region: region
    .describe("With state in DynamoDB: where the target's queue and its replay are; the region of QUEUE by default")
    .optional(),
  vpc: vpcSchema.describe("For the deployment to AWS: the network of a shadow that is not public").optional(),
  policies: policiesSchema
    .describe("For the deployment to AWS: managed policies that let its replay do what it signs")
    .optional(),
}).superRefine(({ order, key, headers: { set }, token, sign, region, queue }, context) => {
  const mistake = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
  if (order && !key) mistake(["order"], "needs a key, such as key: { cookie: session }");
  if (key && !order) mistake(["key"], "is for order: byKey");
  if (token && token.header in set) mistake(["token", "header"], `${token.header} is in headers.set, too`);
  if (sign && token?.header === "authorization") {
    mistake(["token", "header"], "the signature goes into authorization; the token needs another header");
  }
  if (sign && "authorization" in set) mistake(["headers", "set"], "the signature goes into authorization");
  if (sign && !sign.region && !region) mistake(["sign", "region"], "is needed where the target has no region");
  const queueRegion = queue && namedRegionOf(queue);
  if (region && queueRegion !== undefined && region !== queueRegion) {
    mistake(["region"], `is ${region}, and queue is in ${queueRegion}`);
  }
});
