import { z } from "zod";
import { parseAddressRange } from "./address-range.ts";
import { parseBucketUrl } from "./archive/archive-url.ts";
import { isReservedHeader } from "./outbound.ts";
import { ingressQueue } from "./queue/names.ts";
import { findQueueUrlMistake, namedRegionOf } from "./queue/sqs-url.ts";
import { parseTimes } from "./times.ts";
import { parseDurationMs, parseFraction, parseRatePerSecond, parseSizeBytes } from "./units.ts";

// Every object is strict: a misspelt key must not silently mean the default.
function section<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? `unknown key ${issue.keys.join(", ")}; allowed here: ${Object.keys(shape).join(", ")}`
        : undefined,
  });
}

function written<T>(parse: (text: string) => T | undefined, what: string, examples: string[]) {
  return z
    .string({ error: `must be ${what}, such as ${examples.join(" or ")}` })
    .transform((text, context) => {
      const value = parse(text);
      if (value !== undefined) return value;
      context.addIssue({ code: "custom", message: `"${text}" is not ${what}, such as ${examples.join(" or ")}` });
      return z.NEVER;
    })
    .meta({ examples });
}

const anyDuration = written(parseDurationMs, "a duration", ["250ms", "30s", "1h"]);
const size = written(parseSizeBytes, "a size", ["48KiB", "64MiB"]);
const rate = written(parseRatePerSecond, "a rate", ["200/s", "30/min", "unlimited"]);
const percentage = written(parseFraction, "a percentage from 0% to 100%", ["50%", "0.5%"]);
const regex = written(compileRegex, "a regular expression", ["^/api/"]);
const address = written(parseAddress, "an address", ["127.0.0.1:12345", "[::1]:12345", "unix:/run/spoa-relay.sock"]);
const addressRange = written(parseAddressRange, "an address or a CIDR", ["10.0.0.0/8", "2001:db8::1"]);
const headerName = z
  .string()
  .regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/, { error: "is not the name of a header" })
  .transform((name) => name.toLowerCase());
const headerValue = z.string().regex(/^[\t\x20-\x7e\x80-\xff]*$/, {
  error: "a header value must not hold line breaks or control characters",
});

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

/** A duration from one to the other, both included. */
function duration(least: string, most: string) {
  const [leastMs, mostMs] = [parseDurationMs(least) ?? Number.NaN, parseDurationMs(most) ?? Number.NaN];
  return anyDuration.refine((ms) => ms >= leastMs && ms <= mostMs, { error: `must be from ${least} to ${most}` });
}

const sqsExample = "https://sqs.eu-central-1.amazonaws.com/123456789012/spoa-relay";
const queueForms = `embedded:DIRECTORY or the URL of an SQS queue, such as ${sqsExample}`;

const queue = z
  .string({ error: `must be ${queueForms}` })
  .regex(/^(?:embedded:.+|https?:\/\/.+)$/, { error: `must be ${queueForms}` })
  .transform((text, context) => {
    if (text.startsWith("embedded:")) return { kind: "embedded" as const, directory: text.slice("embedded:".length) };
    const url = parseQueueUrl(text, context);
    return url ? { kind: "sqs" as const, url } : z.NEVER;
  })
  .describe(
    "Between agents and host: embedded:DIRECTORY, relative to this file, or the URL of a standard queue in SQS",
  );

const sqsUrl = z.string().transform((text, context) => parseQueueUrl(text, context) ?? z.NEVER);

const state = z
  .string()
  .transform((text, context) => {
    const match = /^dynamodb:(?:([a-z]{2,}(?:-[a-z]+)+-\d+)\/)?([\w.-]{3,255})$/.exec(text);
    if (match) return { table: match[2], ...(match[1] !== undefined && { region: match[1] }) };
    context.addIssue({ code: "custom", message: "must be dynamodb:TABLE or dynamodb:REGION/TABLE" });
    return z.NEVER;
  })
  .describe("With a queue in SQS: dynamodb:TABLE, in the queue's region; then the targets' queues are in SQS, too");

const when = section({
  method: z
    .union([z.string(), z.array(z.string()).min(1)], { error: "must be a method or a list of methods" })
    .transform((methods) => (typeof methods === "string" ? [methods] : methods))
    .describe("Methods that match, as one name or a list")
    .optional(),
  path: regex.describe("Matched against path and query").optional(),
  header: z.record(headerName, regex).describe("Header name to regular expression; all must match").optional(),
});

const stickyBy = section({
  header: headerName.optional(),
  cookie: z.string().min(1).optional(),
  src: z.literal(true).optional(),
  missing: z.enum(["in", "out"]).default("out").describe("Requests without the key are in, or out"),
}).refine((key) => [key.header, key.cookie, key.src].filter((part) => part !== undefined).length === 1, {
  error: "names exactly one of header, cookie or src",
});

const requestKey = section({
  header: headerName.optional(),
  cookie: z.string().min(1).optional(),
  src: z.literal(true).optional(),
}).refine((key) => Object.values(key).length === 1, { error: "names exactly one of header, cookie or src" });

const times = z
  .union([z.string(), z.array(z.string()).min(1)], {
    error: 'must be times such as "22:00-06:00 Europe/Berlin", or a list of them',
  })
  .transform((texts) => (typeof texts === "string" ? [texts] : texts))
  .pipe(z.array(written(parseTimes, "a span of time", ["22:00-06:00 Europe/Berlin", "Mon-Fri 08:00-18:00 UTC"])));

const breaker = section({
  failures: z.int().min(1).max(1_000_000).default(10).describe("Failures one after the other that open it"),
  probeAfter: duration("100ms", "30s").prefault("1s").describe("Until the first probe; then twice as long each time"),
});

const tls = section({
  ca: z.string().describe("PEM file with the certificate authority to trust, relative to this file").optional(),
  verify: z.boolean().default(true).describe("Whether the shadow's certificate is checked"),
  serverName: z.string().describe("Name to ask for and to check instead of the URL's host").optional(),
});

const region = z.string().regex(/^[a-z]{2,}(?:-[a-z]+)+-\d+$/, { error: "must be a region, such as eu-central-1" });

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

const target = section({
  url: written(parseOrigin, "an origin without a path", ["http://127.0.0.1:8082", "https://staging.example"]).describe(
    "The shadow. Requests leave for this origin and no other",
  ),
  // Below it, the wait for a slot would be longer than a timer can hold.
  rate: rate
    .refine((perSecond) => perSecond * 3_600 >= 0.01, { error: "must be 0.01/h or more" })
    .describe("Requests a second, minute or hour that the shadow gets at most"),
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

const storeForms = "s3://BUCKET/PREFIX or a directory";

const store = z
  .string({ error: `must be ${storeForms}` })
  .min(1, { error: `must be ${storeForms}` })
  .transform((text, context) => {
    // A directory with a colon in front is more likely a store of a kind that there is not.
    if (!/^[a-z][a-z0-9+.-]*:/i.test(text)) return { kind: "directory" as const, directory: text };
    const folder = parseBucketUrl(text);
    if (folder) return { kind: "s3" as const, ...folder };
    const message = `"${text}" is not ${storeForms}, such as s3://our-captures/shop or ./captures`;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  })
  .describe("Where its requests are kept: s3://BUCKET/PREFIX, or a directory relative to this file");

const capture = section({
  store,
  region: region.describe("Of the bucket; the region of the queue by default").optional(),
  when: when.describe("Only requests that match are kept").optional(),
  sample: percentage.default(1).describe("Share of the requests that is kept"),
  stickyBy: stickyBy.describe("All requests with the same key are in, or all are out").optional(),
  keep: duration("1h", "3650d")
    .prefault("7d")
    .describe("For how long. The host deletes what is older from a directory; a bucket needs a lifecycle rule"),
}).superRefine(({ store: { kind }, region }, context) => {
  if (kind === "s3" || region === undefined) return;
  context.addIssue({ code: "custom", path: ["region"], message: "is for a bucket of S3, and store is a directory" });
});

const journal = section({
  directory: z.string().min(1).default("./journal").describe("Relative to this file"),
  maxBytes: size.prefault("1GiB").describe("What packs that wait for the queue may take on disk"),
  whenFull: z.enum(["drop-oldest", "drop-newest"]).default("drop-oldest"),
});

const listenerTls = section({
  cert: z.string().min(1).describe("PEM file with the agent's certificate and its chain, relative to this file"),
  key: z.string().min(1).describe("PEM file with its private key"),
  clientCa: z.string().min(1).describe("PEM file: only peers with a certificate of this authority get in").optional(),
});

const account = z.union([z.string().min(1), z.int().min(0)], { error: "must be a name or a number" });

const socketFile = section({
  mode: z
    .string({ error: 'must be octal digits in quotes, such as "0660"' })
    .regex(/^0?[0-7]{3}$/, { error: 'must be octal digits, such as "0660"' })
    .transform((digits) => Number.parseInt(digits, 8))
    .describe("Who may connect: permissions of the socket file")
    .optional(),
  owner: account.describe("User that the socket file belongs to").optional(),
  group: account.describe("Group that the socket file belongs to").optional(),
});

/** The journal of an agent whose queue is in SQS, where nothing else is said. */
export const defaultJournal = journal.parse({});

const agent = section({
  listen: address.prefault("127.0.0.1:12345").describe("Where HAProxy connects. SPOP has no authentication"),
  tls: listenerTls.describe("Connections must be TLS: `server … ssl` in HAProxy").optional(),
  allow: z
    .array(addressRange)
    .min(1)
    .describe("Only these peers may connect; all others are closed at once")
    .optional(),
  socket: socketFile.describe("The file of a unix socket").optional(),
  admin: address.prefault("127.0.0.1:12346").describe("/stats, /metrics and /healthz of the agent"),
  name: z
    .string()
    .regex(/^[\x21-\x7e]{1,64}$/, { error: "must be 1 to 64 printable characters" })
    .describe("Name of this agent in packs and figures; the host name by default")
    .optional(),
  workers: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe(
      "Processes that share the address, for hosts where one does not keep up; one takes 100,000 requests a second",
    ),
  sample: percentage.default(1).describe("Share of the requests that is packed at all"),
  stickyBy: stickyBy.optional(),
  when: when.describe("Only requests that match are packed").optional(),
  redact: section({ headers: z.array(headerName).default([]) })
    .default({ headers: [] })
    .describe("Headers whose value is replaced before anything is stored"),
  maxFrame: size
    .refine((bytes) => bytes >= 256 && bytes <= 48 * 1024 * 1024, {
      error: "must be from 256B, the least that HAProxy takes, to 48MiB, the most that a pack can hold",
    })
    .prefault("16MiB")
    .describe("Largest SPOP frame, and largest fragmented message"),
  pack: section({
    bytes: size.prefault("60KiB").describe("Compressed size to aim at; SQS bills each 64 KiB"),
    requests: z.int().min(1).max(10_000).default(1_000),
    // An hour is far below what a timer can hold, and far above what a pack should wait.
    linger: duration("0s", "1h").prefault("250ms").describe("How long a pack waits for more, 1h at most"),
  }).prefault({}),
  buffer: size.prefault("32MiB").describe("What may wait for the queue; beyond it the newest is dropped and counted"),
  journal: journal
    .describe(
      "Keeps packs on disk until the queue has them. By default for a queue in SQS; an embedded one is on disk itself",
    )
    .optional(),
  // An agent ends within ten seconds, and has to hand over what it has afterwards.
  drain: duration("0s", "8s").prefault("3s").describe("How long a stopping agent goes on acknowledging, 8s at most"),
}).superRefine(({ listen, allow, socket }, context) => {
  const mistake = (key: string, message: string) => context.addIssue({ code: "custom", path: [key], message });
  if (listen.kind === "unix" && allow) mistake("allow", "is for TCP; who may use a unix socket is for agent.socket");
  if (listen.kind === "tcp" && socket) mistake("socket", "is for a unix socket, and agent.listen is none");
});

const host = section({
  admin: address.prefault("127.0.0.1:12347").describe("Control API, /stats, /metrics and /healthz of the host"),
  token: z
    .string()
    .regex(/^[!-~]{16,}$/, { error: "must be 16 printable characters or more, without spaces" })
    .describe("What callers of the control API have to show; needed where admin is not a loopback address")
    .optional(),
  // Less than a second would have packs come again while they are worked on; more than 12 hours no queue takes.
  visibility: duration("1s", "12h")
    .prefault("30s")
    .describe("How long a pack stays hidden after its process died, 1s to 12h; a living process extends it"),
  inFlight: z.int().min(1).max(64).default(8).describe("Packs under way at once, per queue"),
  data: z
    .string()
    .min(1)
    .describe(
      "Where the host keeps the targets' queues, dead letters and figures if queue is in SQS, relative to this file; ./data by default",
    )
    .optional(),
}).superRefine(({ admin, token }, context) => {
  if (admin.kind === "unix" || isLoopback(admin.host) || token !== undefined) return;
  const message = `${admin.host} can be reached from other machines, which needs host.token: what callers have to show`;
  context.addIssue({ code: "custom", path: ["admin"], message });
});

export const configSchema = section({
  agent: agent.prefault({}),
  host: host.prefault({}),
  queue,
  state: state.optional(),
  control: written(parseOrigin, "an origin without a path", ["https://ID.lambda-url.eu-central-1.on.aws"])
    .describe("Where the command line finds the control API, where it is not at host.admin")
    .optional(),
  targets: z
    .record(
      z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, { error: "a target's name has a-z, 0-9 and - only" }),
      target,
      { error: "must hold at least one target, as NAME: {url: …, rate: …}" },
    )
    .refine((targets) => Object.keys(targets).length > 0, { error: "needs at least one target" })
    .refine((targets) => !(ingressQueue in targets), {
      error: `a target cannot be called ${ingressQueue}: that is the queue before all targets`,
    }),
  captures: z
    .record(
      z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, { error: "a capture's name has a-z, 0-9 and - only" }),
      capture,
      { error: "must hold captures, as NAME: {store: …}" },
    )
    .refine((captures) => !(ingressQueue in captures), { error: `a capture cannot be called ${ingressQueue}` })
    .default({})
    .describe("Requests that are kept, to be looked at and replayed later"),
  log: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
})
  .superRefine(({ queue: { kind }, state, host: { data }, targets, captures }, context) => {
    const mistake = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
    for (const [name, { store }] of Object.entries(captures)) {
      if (name in targets) mistake(["captures", name], "is the name of a target, too: a capture needs one of its own");
      if (state && store.kind === "directory") {
        mistake(
          ["captures", name, "store"],
          "must be a bucket where state is in DynamoDB: no two processes share a disk",
        );
      }
    }
    if (data !== undefined && kind === "embedded") {
      mistake(["host", "data"], "is for a queue in SQS; with embedded:DIRECTORY everything is kept in DIRECTORY");
    }
    if (data !== undefined && state) {
      mistake(["host", "data"], "is for a host that keeps the state; with state in DynamoDB nothing is kept here");
    }
    if (state && kind === "embedded") mistake(["state"], "is for a queue in SQS; embedded:DIRECTORY has its own");
    if (state) return;
    for (const [name, target] of Object.entries(targets)) {
      for (const key of ["queue", "region"] as const) {
        if (!target[key]) continue;
        mistake(["targets", name, key], "is for state in DynamoDB; without it the host has the queue");
      }
    }
  })
  .meta({ title: "spoa-relay.yaml" });

export type ParsedConfig = z.output<typeof configSchema>;

/** A place to listen: a TCP address or a unix socket. */
export type ListenAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

function parseAddress(text: string): ListenAddress | undefined {
  if (text.startsWith("unix:")) return text.length > 5 ? { kind: "unix", path: text.slice(5) } : undefined;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text);
  const port = match ? Number(match[3]) : 65_536;
  return match && port < 65_536 ? { kind: "tcp", host: match[1] ?? match[2], port } : undefined;
}

/** True for an address that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|(?:::ffff:)?127(?:\.\d+){3}|::1)$/i.test(host);
}

function parseQueueUrl(text: string, context: z.RefinementCtx): URL | undefined {
  const url = /^https?:/.test(text) ? URL.parse(text) : null;
  const mistake = url ? findQueueUrlMistake(url) : `must be the URL of an SQS queue, such as ${sqsExample}`;
  if (url && mistake === undefined) return url;
  context.addIssue({ code: "custom", message: `${mistake}` });
  return undefined;
}

function parseOrigin(text: string): URL | undefined {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) return undefined;
  return url.pathname === "/" && !url.search && !url.hash && !url.username && !url.password ? url : undefined;
}

function compileRegex(text: string): RegExp | undefined {
  try {
    return new RegExp(text);
  } catch {
    return undefined;
  }
}
