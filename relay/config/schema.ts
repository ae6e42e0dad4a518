import { z } from "zod";
import { parseBucketUrl } from "../archive/archive-url.ts";
import { ingressQueue } from "../queue/names.ts";
import { parseTablePlace } from "../state/dynamodb/table-place.ts";
import { agentSchema } from "./agent-schema.ts";
import { awsSchema } from "./aws-schema.ts";
import {
  address,
  duration,
  isLoopback,
  parseOrigin,
  parseQueueUrl,
  percentage,
  region,
  section,
  sqsExample,
  stickyBy,
  when,
  written,
} from "./forms.ts";
import { targetSchema } from "./target-schema.ts";

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

const state = z
  .string()
  .transform((text, context) => {
    const place = text.startsWith("dynamodb:") ? parseTablePlace(text.slice("dynamodb:".length)) : undefined;
    if (place) return place;
    context.addIssue({ code: "custom", message: "must be dynamodb:TABLE, dynamodb:REGION/TABLE or dynamodb:ARN" });
    return z.NEVER;
  })
  .describe(
    "With a queue in SQS: dynamodb:TABLE, in the queue's region, or dynamodb:ARN; then the targets' queues are in SQS, too",
  );

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
  agent: agentSchema.prefault({}),
  host: host.prefault({}),
  queue,
  state: state.optional(),
  control: written(parseOrigin, "an origin without a path", ["https://ID.lambda-url.eu-central-1.on.aws"])
    .describe("Where the command line finds the control API, where it is not at host.admin")
    .optional(),
  targets: z
    .record(
      z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, { error: "a target's name has a-z, 0-9 and - only" }),
      targetSchema,
      { error: "must hold targets, as NAME: {url: …, rate: …}" },
    )
    .refine((targets) => !(ingressQueue in targets), {
      error: `a target cannot be called ${ingressQueue}: that is the queue before all targets`,
    })
    .default({}),
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
  aws: awsSchema.prefault({}).describe("For the deployment to AWS; nothing else reads it"),
})
  .superRefine(({ queue: { kind }, state, host: { data }, targets, captures }, context) => {
    const mistake = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
    if (Object.keys(targets).length + Object.keys(captures).length === 0) {
      mistake(["targets"], "needs at least one target, as NAME: {url: …, rate: …}; or there are captures");
    }
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
