import { z } from "zod";
import { parseBucketUrl } from "../archive/archive-url.ts";
import { isReservedHeader } from "../pack/reserved-headers.ts";
import { ingressQueue } from "../queue/names.ts";
import { showUrl } from "../redaction/url-passwords.ts";
import { parseTablePlace } from "../state/dynamodb/table-place.ts";
import { agentSchema } from "./agent-schema.ts";
import { awsSchema } from "./aws-schema.ts";
import { findEqualAddresses, findRedactedUses } from "./conflicts.ts";
import {
  demand,
  duration,
  headerName,
  parseOrigin,
  parseQueueUrl,
  percentage,
  region,
  section,
  size,
  sqsExample,
  stickyBy,
  when,
  written,
} from "./forms.ts";
import { hostSchema } from "./host-schema.ts";
import { fromEnvironment, targetSchema } from "./target-schema.ts";
import { parseSizeBytes } from "./units.ts";

// Enough for hours, and far less than most disks.
const defaultMaxBytes = "10GiB";
const queueForms = `embedded:DIRECTORY or the URL of an SQS queue, such as ${sqsExample}`;

const queuePlace = z
  .string({ error: ({ input }) => demand(input, queueForms) })
  .regex(/^(?:embedded:.+|https?:\/\/.+)$/, { error: `must be ${queueForms}` })
  .transform((text, context) => {
    if (text.startsWith("embedded:")) return { kind: "embedded" as const, directory: text.slice("embedded:".length) };
    const url = parseQueueUrl(text, context);
    return url ? { kind: "sqs" as const, url } : z.NEVER;
  })
  .describe(
    "Queue between agents and host: embedded:DIRECTORY, relative to this file, or the URL of a standard SQS queue",
  );

// An empty queue has half a megabyte, a message up to 1 MiB, and the WAL, up to 8 MiB, holds pages a second time.
const leastShareBytes = 16 * 1024 ** 2;

const queueSection = section({
  place: queuePlace,
  maxBytes: size("1MiB", "1048576GiB")
    .prefault(defaultMaxBytes)
    .describe(
      "The most that embedded queues may have on disk, in equal shares for the ingress queue and each target; then the newest requests are dropped and counted",
    ),
});

/** The text alone, or a section with it. */
const queue = z
  .union([queuePlace, queueSection], {
    error: ({ input }) => {
      const one = typeof input === "object" && input !== null ? queueSection : queuePlace;
      const issues = one.safeParse(input).error?.issues ?? [];
      return issues.map(({ path, message }) => [...path, message].join(": ")).join("; ");
    },
  })
  .transform((parsed) =>
    "place" in parsed
      ? { ...parsed.place, maxBytes: parsed.maxBytes }
      : { ...parsed, maxBytes: parseSizeBytes(defaultMaxBytes) ?? 0 },
  );

const state = z
  .string()
  .transform((text, context) => {
    const place = text.startsWith("dynamodb:") ? parseTablePlace(text.slice("dynamodb:".length)) : undefined;
    if (place) return place;
    context.addIssue({ code: "custom", message: "must be dynamodb:TABLE, dynamodb:REGION/TABLE or dynamodb:ARN" });
    return z.NEVER;
  })
  .describe(
    "With a queue in SQS: dynamodb:TABLE in the queue's region, dynamodb:REGION/TABLE or dynamodb:ARN; the targets' queues are then in SQS as well. By default the host keeps state and targets' queues on disk",
  );

const loopText = z
  .string()
  .regex(/^[!-~]{16,}$/, { error: "must be at least 16 printable characters, without spaces, or { env: NAME }" });

const loopKey = z
  .union(
    [
      loopText,
      fromEnvironment,
      z
        .array(z.union([loopText, fromEnvironment]))
        .min(1)
        .max(4),
    ],
    {
      error: "must be at least 16 printable characters, without spaces, { env: NAME }, or a list of at most 4 of them",
    },
  )
  .transform((keys) => (Array.isArray(keys) ? keys : [keys]))
  .describe(
    "Secret that agents and replays share: replays sign loopHeader, and agents leave out only signed requests. A list for changing it: the first key signs, all verify",
  );

const loopHeader = headerName
  .refine((name) => name.length < 32 && (name.startsWith("x-mirror-") || !isReservedHeader(name)), {
    error: "must have less than 32 characters and be no header of the connection",
  })
  // Every browser sends cookie, user-agent and the like: with such a header, nothing would be mirrored.
  .refine((name) => name.startsWith("x-") && !name.startsWith("x-forwarded-"), {
    error: "must begin with x-, and not with x-forwarded-: clients must not send it by themselves",
  })
  .refine((name) => !otherMirrorHeaders.includes(name), {
    error: "is a header that spoa-relay writes itself: use another",
  });

const otherMirrorHeaders = ["x-mirror-captured-at", "x-mirror-target", "x-mirror-attempt", "x-mirror-truncated"];

const storeForms = "s3://BUCKET/PREFIX or a directory";

const store = z
  .string({ error: ({ input }) => demand(input, storeForms) })
  .min(1, { error: `must be ${storeForms}` })
  .transform((text, context) => {
    // `gs://bucket` is more likely an unsupported kind of store than a directory.
    if (!/^[a-z][a-z0-9+.-]*:/i.test(text)) return { kind: "directory" as const, directory: text };
    const folder = parseBucketUrl(text);
    if (folder) return { kind: "s3" as const, ...folder };
    const advice = text.startsWith("s3://")
      ? "; a bucket's name has 3 to 63 lower-case letters, digits, dots or hyphens, and a prefix has no spaces"
      : "";
    const message = `"${showUrl(text)}" is not ${storeForms}, such as s3://our-captures/shop or ./captures${advice}`;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  })
  .describe("Where the requests are kept: s3://BUCKET/PREFIX, or a directory relative to this file");

const capture = section({
  store,
  region: region.describe("Region of the bucket; by default the region of the queue").optional(),
  when: when.describe("Keep only requests that match all conditions").optional(),
  sample: percentage.prefault("100%").describe("Share of the requests that is kept"),
  stickyBy: stickyBy.describe("Sample by a key: all requests with the same key are kept, or none").optional(),
  keep: duration("1h", "3650d")
    .prefault("7d")
    .describe(
      "How long requests are kept, 1h to 3650d. The host deletes older ones from a directory; a bucket needs a lifecycle rule",
    ),
}).superRefine(({ store: { kind }, region }, context) => {
  if (kind === "s3" || region === undefined) return;
  const message = "is for a bucket in S3, and store is a directory: remove it";
  context.addIssue({ code: "custom", path: ["region"], message });
});

export const configSchema = section({
  agent: agentSchema.prefault({}).describe("The agent beside HAProxy, which puts requests into the queue"),
  host: hostSchema.prefault({}).describe("The host, which receives requests from the queue and replays them"),
  queue,
  state: state.optional(),
  loopKey: loopKey.optional(),
  loopHeader: loopHeader
    .prefault("x-mirror-id")
    .describe("Header that marks replayed requests, so that agents do not mirror them again"),
  control: written(parseOrigin, "an origin without a path", ["https://ID.lambda-url.eu-central-1.on.aws"])
    .describe("Origin at which the command line calls the control API, such as its function URL; by default host.admin")
    .optional(),
  targets: z
    .record(
      z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, {
        error: "a target's name must be 1 to 40 of a-z, 0-9 and -, without - at the start",
      }),
      targetSchema,
      { error: "must be targets, as NAME: {url: …, rate: …}" },
    )
    .refine((targets) => !(ingressQueue in targets), {
      error: `a target cannot be called ${ingressQueue}: that is the name of the ingress queue`,
    })
    .default({})
    .describe("Shadow environments that requests are replayed to, by name"),
  captures: z
    .record(
      z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, {
        error: "a capture's name must be 1 to 40 of a-z, 0-9 and -, without - at the start",
      }),
      capture,
      { error: "must be captures, as NAME: {store: …}" },
    )
    .refine((captures) => !(ingressQueue in captures), {
      error: `a capture cannot be called ${ingressQueue}: that is the name of the ingress queue`,
    })
    .default({})
    .describe("Requests that are kept to be inspected and replayed later, by name of the capture"),
  log: z.enum(["debug", "info", "warn", "error", "silent"]).default("info").describe("Lowest level that is logged"),
  aws: awsSchema.prefault({}).describe("Settings of the deployment to AWS; nothing else reads them"),
})
  .superRefine((config, context) => {
    const { queue, host, agent, control, targets, captures } = config;
    const addresses = findEqualAddresses({ agent, host, ...(control && { control }) });
    // With a queue in SQS they may be on different machines: then it is only a warning.
    const equal = [...addresses.always, ...(queue.kind === "embedded" ? addresses.onOneMachine : [])];
    for (const { path, mistake } of [...equal, ...findRedactedUses(agent.redact, { targets, captures })]) {
      context.addIssue({ code: "custom", path: [...path], message: mistake });
    }
  })
  .superRefine(({ queue: { maxBytes }, targets }, context) => {
    const least = leastShareBytes * (Object.keys(targets).length + 1);
    if (maxBytes >= least) return;
    const message = `must be at least ${least / 1024 ** 2}MiB: the ingress queue and each target have an equal share, of ${leastShareBytes / 1024 ** 2}MiB or more`;
    context.addIssue({ code: "custom", path: ["queue", "maxBytes"], message });
  })
  .superRefine(({ queue: { kind }, state, loopHeader: mark, host: { data }, targets, captures }, context) => {
    const mistake = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
    for (const [name, { headers, token }] of Object.entries(targets)) {
      if (mark in headers.set) mistake(["targets", name, "headers", "set"], `cannot set ${mark}, which is loopHeader`);
      if (token?.header === mark) mistake(["targets", name, "token", "header"], `is ${mark}, which is loopHeader`);
    }
    if (Object.keys(targets).length + Object.keys(captures).length === 0) {
      mistake(["targets"], "needs at least one target, as NAME: {url: …, rate: …}, unless there are captures");
    }
    for (const [name, { store }] of Object.entries(captures)) {
      if (name in targets) mistake(["captures", name], "is also the name of a target: rename one of them");
      if (state && store.kind === "directory") {
        mistake(
          ["captures", name, "store"],
          "must be s3://BUCKET/PREFIX if state is in DynamoDB: the functions share no disk",
        );
      }
    }
    if (data !== undefined && kind === "embedded") {
      mistake(
        ["host", "data"],
        "is for a queue in SQS; with queue: embedded:DIRECTORY the host keeps everything in DIRECTORY: remove it",
      );
    }
    if (data !== undefined && state) {
      mistake(
        ["host", "data"],
        "has no effect if state is in DynamoDB, since the host then keeps nothing on disk: remove it",
      );
    }
    if (state && kind === "embedded")
      mistake(["state"], "is for a queue in SQS; with queue: embedded:DIRECTORY the host keeps the state: remove it");
    if (state) return;
    for (const [name, target] of Object.entries(targets)) {
      for (const key of ["queue", "region"] as const) {
        if (!target[key]) continue;
        mistake(
          ["targets", name, key],
          "is for state in DynamoDB; without it the host keeps the target's queue: set state, or remove this",
        );
      }
    }
  })
  .meta({ title: "spoa-relay.yaml" });

export type ParsedConfig = z.output<typeof configSchema>;
