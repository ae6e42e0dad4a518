import { describe, expect, it } from "vitest";
import type { Layout, StackLayout } from "../../infra/layout.ts";
import { ConfigError } from "../../relay/config/text.ts";
import { exampleLayout, layoutOf } from "../support/data/layouts.ts";

const queue = "queue: https://sqs.eu-central-1.amazonaws.com/111122223333/shop";
const state = "state: dynamodb:shop";

function outline({ stacks }: Layout) {
  return stacks.map(({ name, account, region, queues, functions, buckets, table }: StackLayout) => ({
    name,
    place: `${account}/${region}`,
    queues: queues.map((one) => one.name),
    functions: functions.map((one) => one.name),
    buckets: buckets.map((one) => one.name),
    table: table?.name,
  }));
}

describe("the layout", () => {
  it("of a target that receives everything is one stack, whose replay reads the ingress queue", () => {
    const layout = exampleLayout("one-region");

    expect(outline(layout)).toEqual([
      {
        name: "shop",
        place: "111122223333/eu-central-1",
        queues: ["shop"],
        functions: ["shop-replay-staging", "shop-schedule", "shop-control"],
        buckets: [],
        table: "shop",
      },
    ]);
    expect(layout.stacks[0].functions[0].reads?.queue).toMatchObject({
      owner: "ingress",
      url: "https://sqs.eu-central-1.amazonaws.com/111122223333/shop",
      arn: "arn:aws:sqs:eu-central-1:111122223333:shop",
      deadLetters: { name: "shop-dlq", arn: "arn:aws:sqs:eu-central-1:111122223333:shop-dlq" },
    });
  });

  it("of targets in two regions is a stack for each, with the target's queue in the region of its replay", () => {
    expect(outline(exampleLayout("two-regions"))).toEqual([
      {
        name: "shop",
        place: "111122223333/eu-central-1",
        queues: ["shop", "shop-staging"],
        functions: ["shop-fanout", "shop-replay-staging", "shop-schedule", "shop-control"],
        buckets: ["shop-captures"],
        table: "shop",
      },
      {
        name: "shop-us-east-1",
        place: "111122223333/us-east-1",
        queues: ["shop-virginia"],
        functions: ["shop-replay-virginia"],
        buckets: [],
        table: undefined,
      },
    ]);
  });

  it("of two accounts is a stack for each", () => {
    expect(outline(exampleLayout("two-accounts"))).toMatchObject([
      { name: "shop", place: "111122223333/eu-central-1", functions: ["shop-fanout", "shop-schedule", "shop-control"] },
      {
        name: "shop-444455556666-eu-central-1",
        place: "444455556666/eu-central-1",
        queues: ["shop-tests"],
        functions: ["shop-replay-tests"],
      },
    ]);
  });

  it("of captures without targets has a fan-out and no replay", () => {
    expect(outline(exampleLayout("captures-only"))).toMatchObject([
      { queues: ["shop"], functions: ["shop-fanout", "shop-schedule", "shop-control"], buckets: ["shop-captures"] },
    ]);
  });

  it("puts schedule and control into the stack of the table", () => {
    const layout = layoutOf([
      queue,
      "state: dynamodb:eu-west-1/shop",
      "targets:",
      "  a: { url: https://a, rate: 1/s }",
    ]);

    expect(outline(layout)).toMatchObject([
      { name: "shop", functions: ["shop-replay-a"], table: undefined },
      { name: "shop-eu-west-1", queues: [], functions: ["shop-schedule", "shop-control"], table: "shop" },
    ]);
  });

  it("names stacks as CloudFormation allows", () => {
    const [{ name }] = layoutOf([
      "queue: https://sqs.eu-central-1.amazonaws.com/111122223333/2_shops",
      state,
      "targets:",
      "  a: { url: https://a, rate: 1/s }",
    ]).stacks;

    expect(name).toBe("relay-2-shops");
  });

  it("has the partition aws-cn in its ARNs for regions in China", () => {
    const [{ queues, functions }] = layoutOf([
      "queue: https://sqs.cn-north-1.amazonaws.com.cn/111122223333/shop",
      state,
      "targets:",
      "  a: { url: https://a, rate: 1/s }",
    ]).stacks;

    expect(queues[0].arn).toBe("arn:aws-cn:sqs:cn-north-1:111122223333:shop");
    expect(functions[0].role.arn).toBe("arn:aws-cn:iam::111122223333:role/shop-replay-a-cn-north-1");
  });
});

describe("a function of the layout", () => {
  it("has a queue that hides packs for six times its timeout", () => {
    const { stacks } = layoutOf([
      queue,
      state,
      "targets:",
      "  quick: { url: https://a, rate: 1/s }",
      "  slow: { url: https://b, rate: 1/s, timeout: 4m }",
    ]);

    const times = stacks[0].functions.flatMap(({ reads, timeoutSeconds }) =>
      reads ? [[timeoutSeconds, reads.queue.visibilitySeconds]] : [],
    );
    expect(times).toEqual([
      [120, 720],
      [300, 1_800],
      [486, 2_916],
    ]);
  });

  it.each([
    ["1/s", 64, 2],
    ["200/s", 64, 7],
    ["1000/s", 64, 32],
    ["1000/s", 10_000, 4],
    ["100000/s", 1, 1_000],
    ["unlimited", 64, 10],
  ])("that replays %s with %i in flight runs %i times at once at most", (rate, concurrency, workers) => {
    const target = `  a: { url: https://a, rate: ${rate}, concurrency: ${concurrency} }`;
    const [{ functions }] = layoutOf([queue, state, "targets:", target]).stacks;

    expect(functions[0].reads?.maxConcurrency).toBe(workers);
  });

  it("has the secrets of its own target only", () => {
    const { functions } = exampleLayout("two-regions").stacks[0];

    expect(functions.filter(({ secrets }) => Object.keys(secrets).length > 0)).toMatchObject([
      { name: "shop-replay-staging", secrets: { STAGING_KEY: { id: "shop/staging", field: "key" } } },
    ]);
  });

  it("has the ARNs of the replays in its account in RELAY_MAPPINGS", () => {
    const mappings = (layout: Layout) =>
      JSON.parse(layout.stacks[0].functions.find(({ kind }) => kind === "schedule")?.environment.RELAY_MAPPINGS ?? "");

    expect(mappings(exampleLayout("two-regions"))).toEqual({
      staging: "arn:aws:lambda:eu-central-1:111122223333:function:shop-replay-staging",
      virginia: "arn:aws:lambda:us-east-1:111122223333:function:shop-replay-virginia",
    });
    expect(mappings(exampleLayout("two-accounts"))).toEqual({});
  });
});

describe("the buckets of the layout", () => {
  it("have the prefix of each capture, and the days to keep its objects", () => {
    const [{ buckets }] = exampleLayout("captures-only").stacks;

    expect(buckets).toMatchObject([
      {
        name: "shop-captures",
        captures: [
          { name: "orders", prefix: "orders/orders/", keepDays: 30 },
          { name: "carts", prefix: "carts/", keepDays: 2 },
        ],
      },
    ]);
  });
});

describe("a configuration that cannot be deployed", () => {
  const target = "  a: { url: https://a, rate: 1/s }";
  const longName = "n".repeat(60);

  it.each([
    ["has its state on a host", [queue, "targets:", target], /needs queue: .* and state: dynamodb:TABLE/],
    ["has its queue on this machine", ["queue: embedded:.", "targets:", target], /needs queue: https:\/\/sqs\.REGION/],
    [
      "has its queue in an emulator",
      ["queue: http://127.0.0.1:4566/1/q", state, "targets:", target],
      /queue: http.* is not the URL of a queue in AWS/,
    ],
    [
      "names a token command",
      [queue, state, "targets:", "  a: { url: https://a, rate: 1/s, token: { command: [x] } }"],
      /targets\.a\.token\.command: Lambda cannot run the program/,
    ],
    [
      "names an AWS profile",
      [
        queue,
        state,
        "targets:",
        "  a: { url: https://a, rate: 1/s, sign: { service: lambda, region: eu-west-1, profile: x } }",
      ],
      /targets\.a\.sign\.profile: Lambda has no profiles/,
    ],
    [
      "has a timeout that is too long",
      [queue, state, "targets:", "  a: { url: https://a, rate: 1/s, timeout: 8m }"],
      /targets\.a\.timeout: .* 7m at most/,
    ],
    [
      "does not say where a secret is",
      [queue, state, "targets:", "  a: { url: https://a, rate: 1/s, headers: { set: { x-key: { env: KEY } } } }"],
      /targets\.a: \{ env: KEY \}: .* aws: \{ secrets: \{ KEY: NAME#FIELD \} \}/,
    ],
    [
      "does not say where the loopKey is",
      [queue, state, "loopKey: { env: KEY }", "targets:", target],
      /targets\.\w+: \{ env: KEY \}: .* aws: \{ secrets: \{ KEY: NAME#FIELD \} \}/,
    ],
    [
      "names a table of another account without its ARN",
      [
        queue,
        state,
        "targets:",
        "  a: { url: https://a, rate: 1/s, queue: https://sqs.eu-central-1.amazonaws.com/444455556666/a }",
      ],
      /state: targets\.a is in account 444455556666, .* dynamodb:arn:aws:dynamodb:eu-central-1:111122223333:table\/shop/,
    ],
    [
      "has long names",
      [`queue: https://sqs.eu-central-1.amazonaws.com/111122223333/${longName}`, state, "targets:", target],
      /Lambda allows names of at most 64 characters/,
    ],
    [
      "has a bucket in two regions",
      [queue, state, "captures:", "  a: { store: s3://kept/a }", "  b: { store: s3://kept/b, region: eu-west-1 }"],
      /captures\.b\.region: is eu-west-1, but another capture has the bucket kept in eu-central-1/,
    ],
    [
      "has a capture inside the prefix of one that is kept for less time",
      [queue, state, "captures:", "  b: { store: s3://kept/x/a, keep: 30d }", "  a: { store: s3://kept/x, keep: 1d }"],
      /captures\.b\.store: is inside the prefix of captures\.a, so S3 would delete its objects after 1 d/,
    ],
  ])("%s", (_, lines, mistake) => {
    expect(() => layoutOf(lines)).toThrow(ConfigError);
    expect(() => layoutOf(lines)).toThrow(mistake);
  });
});
