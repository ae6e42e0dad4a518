import { z } from "zod";
import { isReservedHeader } from "../pack/reserved-headers.ts";
import { namedRegionOf } from "../queue/sqs-url.ts";
import { policiesSchema, vpcSchema } from "./aws-schema.ts";
import { bounds } from "./bounds.ts";
import {
  duration,
  headerName,
  headerValue,
  isLoopback,
  parseOrigin,
  percentage,
  rate,
  region,
  requestKey,
  rewritten,
  section,
  sqsUrl,
  stickyBy,
  when,
  written,
} from "./forms.ts";
import { explainTimes, parseTimes } from "./time-windows.ts";

// The variable is not looked up here: an agent on another machine may share the file without having the variables of the replay.
export const fromEnvironment = section({
  env: z
    .string()
    .regex(/^[A-Za-z_]\w*$/, { error: "is not the name of an environment variable" })
    .describe("Name of an environment variable of the process that replays"),
});

const replayHeaderValue = z.union([headerValue, fromEnvironment], {
  error: "must be a text without line breaks or control characters, with quotes if it is a number, or { env: NAME }",
});

const clientAddress = section({
  src: z.literal(true, { error: "must be true: the client's address" }).describe("The client's address"),
});

const setHeaderValue = z.union([headerValue, fromEnvironment, clientAddress], {
  error:
    "must be a text without line breaks or control characters, with quotes if it is a number, { env: NAME }, or { src: true }",
});

const secretText = z.union([z.string(), fromEnvironment], {
  error: "must be a text, with quotes if it is a number, or { env: NAME }",
});

const times = z
  .union([z.string(), z.array(z.string()).min(1)], {
    error: 'must be a span of time, such as "22:00-06:00 Europe/Berlin", or a list of them',
  })
  .transform((texts) => (typeof texts === "string" ? [texts] : texts))
  .pipe(
    z.array(
      written(parseTimes, "a span of time", ["22:00-06:00 Europe/Berlin", "Mon-Fri 08:00-18:00 UTC"], explainTimes),
    ),
  );

const breaker = section({
  failures: z.int().min(1).max(1_000_000).default(10).describe("Failures in a row that open the breaker"),
  probeAfter: duration("100ms", "30s")
    .prefault("1s")
    .describe("Time until the first probe, 100ms to 30s; doubled after each failed probe, up to 30s"),
});

const tls = section({
  ca: z.string().describe("PEM file with the certificate authority to trust, relative to this file").optional(),
  verify: z.boolean().default(true).describe("Whether the shadow's certificate is verified"),
  serverName: z.string().describe("Host name for SNI and for the certificate, if it is not the URL's host").optional(),
});

// The call may carry secrets: hence https, or this machine.
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
    .describe("Program that prints a token, or JSON with one, and its arguments; it runs without a shell")
    .optional(),
  url: tokenUrl
    .describe(
      "Endpoint that answers with a token, or JSON with one; called with POST if form or json is set, else with GET",
    )
    .optional(),
  form: z.record(z.string(), secretText).describe("Body of the call, sent as a form").optional(),
  json: z.record(z.string(), secretText).describe("Body of the call, sent as JSON").optional(),
  headers: z.record(headerName, replayHeaderValue).describe("Headers of the call").default({}),
  field: z.string().min(1).default("access_token").describe("Field that holds the token if the answer is JSON"),
  expires: duration("10s", "365d")
    .prefault("15m")
    .describe(
      "Lifetime of a token if the answer has no expires_in, 10s to 365d; a 401 from the shadow ends it earlier",
    ),
  header: headerName
    .refine((name) => !isReservedHeader(name), { error: "is a header that spoa-relay writes itself: use another" })
    .prefault("authorization")
    .describe("Header of the replayed requests that carries the token; its captured value is removed"),
  format: headerValue
    .refine((text) => text.includes("{token}"), { error: "must contain {token}" })
    .default("Bearer {token}")
    .describe("Value of that header; {token} is replaced by the token"),
}).superRefine(({ command, url, form, json, headers }, context) => {
  const mistake = (message: string, path: string[] = []) => context.addIssue({ code: "custom", path, message });
  if ((command === undefined) === (url === undefined)) mistake("needs either command or url");
  if (form && json) mistake("cannot be combined with form: the call has one body", ["json"]);
  if (url) return;
  for (const [key, value] of Object.entries({ form, json }))
    if (value) mistake("is for url; a command has no body", [key]);
  if (Object.keys(headers).length > 0) mistake("is for url; a command has no headers", ["headers"]);
});

const sign = section({
  service: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, { error: "must be the name of a service in signatures, such as lambda" })
    .describe("AWS service to sign for: execute-api, lambda, s3, …"),
  region: region.describe("Region to sign for; by default the region of the target").optional(),
  profile: z
    .string()
    .min(1)
    .describe("Profile of the AWS configuration whose credentials sign; by default those of the process")
    .optional(),
});

const credentials = section({
  for: z
    .enum(["captured", "all"])
    .describe("captured: only requests that were captured with credentials of their own; all: every request"),
});

export const targetSchema = section({
  url: written(parseOrigin, "an origin without a path", ["http://127.0.0.1:8082", "https://staging.example"]).describe(
    "Origin of the shadow; requests are sent to no other origin",
  ),
  protocol: z
    .enum(["http1", "h2", "h2c", "auto"])
    .default("http1")
    .describe(
      "What the shadow speaks: http1, h2 (HTTP/2 over TLS), h2c (HTTP/2 without TLS), or auto: the shadow chooses when TLS begins",
    ),
  rate: rate.describe(
    "Highest rate at which the shadow receives requests, such as 200/s, 30/min, 10/h, at most 1000000/s, or unlimited",
  ),
  sample: percentage.prefault("100%").describe("Share of the mirrored requests that is replayed to this target"),
  stickyBy: stickyBy.describe("Sample by a key: all requests with the same key are replayed, or none").optional(),
  when: when.describe("Replay only requests that match all conditions").optional(),
  concurrency: z
    .int()
    .min(bounds.concurrency.least)
    .max(bounds.concurrency.most)
    .default(64)
    .describe("Concurrent requests of each replay process"),
  timeout: duration("1ms", "15m").prefault("10s").describe("Time within which the shadow must answer, at most 15m"),
  attempts: z
    .int()
    .min(1)
    .max(200)
    .default(20)
    .describe("Attempts to deliver a request before it becomes a dead letter"),
  maxAge: duration("1ms", "365d")
    .describe(
      "Age at which requests expire unsent, at most 365d; without it they expire after four days in the queue, in SQS after seven",
    )
    .optional(),
  host: z
    .string()
    .regex(/^[!-~]+$/, { error: "must be target, original, or a host without spaces" })
    .default("target")
    .describe("Host header: target for the host of url, original for the captured one, or a literal host"),
  path: z
    .union(
      [
        section({
          prefix: z
            .string()
            .regex(/^\/[!-~]*$/, { error: "must begin with /" })
            .describe("Text to put before the path, such as /v2"),
        }),
        section({
          match: rewritten.describe("Regular expression for the part of path and query to replace"),
          replace: z
            .string()
            .regex(/^[!-~]*$/, { error: "must be printable ASCII characters without spaces" })
            .describe("Replacement, in which $1 is the first group of match"),
        }),
      ],
      {
        error: ({ errors }) =>
          errors?.flat().find(({ code }) => code === "custom")?.message ??
          "must have either the key prefix, or the keys match and replace",
      },
    )
    .describe("Rewrites the path: either prefix, or match and replace")
    .optional(),
  headers: section({
    set: z
      .record(headerName, setHeaderValue)
      .refine((set) => !Object.keys(set).some(isReservedHeader), {
        error:
          "cannot set Host (use the key host), nor X-Mirror-*, Content-Length or headers of the connection (spoa-relay writes them)",
      })
      .default({})
      .describe("Headers to set, in place of captured ones with the same names"),
    remove: z.array(headerName).default([]).describe("Names of captured headers to remove"),
  })
    .default({ set: {}, remove: [] })
    .describe(
      "Changes of the headers; a value is a text, { env: NAME } for an environment variable of the process that replays, or { src: true } for the client's address",
    ),
  token: token.describe("Sends a fresh token in place of captured credentials").optional(),
  sign: sign.describe("Signs requests with AWS Signature Version 4, after all other changes").optional(),
  credentials: credentials.describe("Which requests get token and sign; by default { for: captured }").optional(),
  truncated: z
    .enum(["skip", "send"])
    .default("skip")
    .describe("Whether requests with an incomplete body are skipped, and counted, or sent"),
  tls: tls.default({ verify: true }).describe("How the shadow is verified if url is https"),
  window: times
    .describe("Send requests only within these times, such as 22:00-06:00 Europe/Berlin; they wait outside of them")
    .optional(),
  blackout: times.describe("Send no requests within these times, even inside window; they wait").optional(),
  order: z
    .literal("byKey", { error: "must be byKey, or left out" })
    .describe("byKey: send requests with the same key one after the other, in the order of their capture")
    .optional(),
  key: requestKey.describe("Key for order: byKey").optional(),
  breaker: breaker.prefault({}).describe("Stops sending to a shadow after repeated failures, except for probes"),
  queue: sqsUrl
    .describe(
      "With state in DynamoDB: URL of this target's SQS queue, in any region; by default the URL in queue with -NAME appended",
    )
    .optional(),
  region: region
    .describe(
      "With state in DynamoDB: region of this target's queue and replay function; by default the region of queue",
    )
    .optional(),
  vpc: vpcSchema
    .describe("For the deployment to AWS: network of the replay function, to reach a shadow that is not public")
    .optional(),
  policies: policiesSchema
    .describe("For the deployment to AWS: ARNs of managed policies that allow the replay function the calls it signs")
    .optional(),
}).superRefine(({ url, protocol, order, key, headers: { set }, token, sign, credentials, region, queue }, context) => {
  const mistake = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
  if (protocol === "h2" && url.protocol === "http:")
    mistake(["protocol"], "h2 needs an https: url; use h2c without TLS");
  if (protocol === "h2c" && url.protocol === "https:")
    mistake(["protocol"], "h2c is without TLS; use h2 for an https: url");
  if (protocol === "auto" && url.protocol === "http:") {
    mistake(["protocol"], "auto needs an https: url, because the protocol is chosen in TLS; use http1 or h2c");
  }
  if (order && !key) mistake(["order"], "needs a key, such as key: { cookie: session }");
  if (key && !order) mistake(["key"], "has no effect without order: byKey");
  if (credentials && !token && !sign) mistake(["credentials"], "has no effect without token or sign");
  if (token && token.header in set)
    mistake(["token", "header"], `${token.header} is also in headers.set: remove it there`);
  if (sign && token?.header === "authorization") {
    mistake(["token", "header"], "sign writes the authorization header: choose another header for the token");
  }
  if (sign && "authorization" in set)
    mistake(["headers", "set"], "sign writes the authorization header: remove it here");
  if (sign && !sign.region && !region) mistake(["sign", "region"], "is needed, since the target has no region");
  const queueRegion = queue && namedRegionOf(queue);
  if (region && queueRegion !== undefined && region !== queueRegion) {
    mistake(["region"], `is ${region}, but queue is in ${queueRegion}`);
  }
});
