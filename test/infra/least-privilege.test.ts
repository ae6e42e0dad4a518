import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { App, Stack } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { AttributeType, Table, TableEncryption } from "aws-cdk-lib/aws-dynamodb";
import { Role, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import { Key } from "aws-cdk-lib/aws-kms";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FunctionLayout } from "../../infra/function-layout.ts";
import { keyUsesOf } from "../../infra/key-uses.ts";
import type { Layout } from "../../infra/layout.ts";
import type { Permission } from "../../infra/permission.ts";
import { tablePermissions } from "../../infra/table-permissions.ts";
import { packsOfGroup } from "../../relay/pack/pack-id.ts";
import type { OutgoingMessage } from "../../relay/queue/port.ts";
import { DynamoDbState } from "../../relay/state/dynamodb/state.ts";
import { TableClient } from "../../relay/state/dynamodb/table-client.ts";
import { oldTallyLayout, tallyLayout } from "../../relay/state/dynamodb/tally-layout.ts";
import { CloudTemplate } from "../support/aws/cloud-template.ts";
import { DeployedCloud } from "../support/aws/deployed-cloud.ts";
import { IamPolicy, principalKey } from "../support/aws/iam-policy.ts";
import { synthesise } from "../support/aws/synthesis.ts";
import { until } from "../support/clocks/until.ts";
import { exampleFile, exampleLayout, layoutOf } from "../support/data/layouts.ts";
import { delivery, packMessage, requests } from "../support/data/packs.ts";
import { configFile } from "../support/lambda/lambda-config.ts";
import { toLambdaEvent } from "../support/lambda/lambda-mapping.ts";
import { bundleFunctions } from "../support/lambda/lambda-rig.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

const bundles = mkdtempSync(join(tmpdir(), "spoa-relay-least-"));
const place = "https://sqs.eu-central-1.amazonaws.com/111122223333/packs";
const eachMinute = { source: "aws.scheduler", "detail-type": "Scheduled Event", detail: "{}" };

beforeAll(() => bundleFunctions(bundles));

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

// Calls that a function only makes after it has lost a race, which this test does not stage: it then reads the item again.
const afterLostRaces = [
  "control GetItem tally#*",
  "schedule GetItem job",
  "schedule GetItem tally#*",
  "schedule GetItem tally",
];
// Calls of functions of the version before, which may still run while a deployment changes their role.
const ofVersionBefore = [
  "control GetItem ledger",
  ...["control", "fanout", "replay"].flatMap((kind) => [`${kind} GetItem tally`, `${kind} UpdateItem tally`]),
];

describe("the permissions of functions on the table", () => {
  it("are what they call, key by key, and nothing more", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/1" ? "reset" : { status: 200 }));
    const cloud = await DeployedCloud.start(
      configFile(
        `queue: ${place}`,
        "state: dynamodb:packs",
        "control: https://abcdefghij0123456789.lambda-url.eu-central-1.on.aws",
        "targets:",
        `  one: { url: "${shadow.url.origin}", rate: 500/s, attempts: 1, sample: 99.99% }`,
        `  two: { url: "${shadow.url.origin}", rate: 500/s, when: { path: "[02468]$" } }`,
        "captures: { all: { store: s3://kept } }",
      ),
      bundles,
    );
    cloud.map();
    const first = packMessage({ sequence: 1, requests: requests(10) });
    const second = packMessage({ sequence: packsOfGroup, requests: requests(10, { id: "second" }) });
    await cloud.put("packs", first);
    await until(() => cloud.depth("packs-one-dlq") > 0);
    const stats = await cloud.command("stats");
    const redriveOne = await cloud.command("dlq", "redrive", "one");
    // The ledger forgets the tallies of the functions, as if they had been idle for an hour.
    for (const partition of tallyLayout.partitions) await cloud.deleteItems(partition);
    await leaveOldTallies(cloud);
    await cloud.put("packs", second);
    await until(() => shadow.received.length > 2 * 10);
    const job = await cloud.command("replay", "all", "--target", "two", "--rate", "100/s", "--detach");
    const schedule = await cloud.open("packs-schedule");
    await schedule.invoke(eachMinute, cloud.timeoutMsOf("packs-schedule"));
    await until(() => readsJob(cloud));
    shadow.behaviour = () => ({ status: 200 });
    const pause = await cloud.command("targets", "pause", "two");
    const redriveTwo = await cloud.command("dlq", "redrive", "one");
    for (const name of ["packs-fanout", "packs-replay-two"]) {
      await deliverAgain(cloud, name, [first]);
      await deliverAgain(cloud, name, [first, second]);
    }

    expect(cloud.gateway.refusals).toEqual([]);
    expect([stats, redriveOne, job, pause, redriveTwo].filter(({ code }) => code !== 0)).toEqual([]);
    const called = new Set(cloud.gateway.calls.flatMap((call) => toUses(cloud.layout, call)));
    const granted = grantsOf(cloud.layout).filter((grant) => ![...afterLostRaces, ...ofVersionBefore].includes(grant));
    expect(granted.filter((grant) => !called.has(grant))).toEqual([]);
  }, 120_000);

  it("let the replay of another account delete nothing, and use no other target", () => {
    const { directory } = synthesise(exampleFile("two-accounts"));
    const { stacks } = exampleLayout("two-accounts");
    const policy = IamPolicy.ofResources(new CloudTemplate(directory, stacks[0]));
    const role = stacks[1].functions[0].role.arn;
    const table = stacks[0].table?.arn ?? "";
    const may = (action: string, ...partitions: readonly string[]) =>
      policy.allows({
        action: `dynamodb:${action}`,
        resources: [table],
        context: { "dynamodb:LeadingKeys": partitions, [principalKey]: role },
      });

    for (const key of ["target#tests", "pack#1", "tally#3", "tally"]) {
      expect([key, may("GetItem", key), may("UpdateItem", key)]).toEqual([key, true, true]);
    }
    for (const action of ["DeleteItem", "PutItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem"]) {
      for (const key of ["target#tests", "minute#tests", "pack#1", "tally#3", "tally", "job", "ledger#3", "ledger"]) {
        const readsPacks = action === "BatchGetItem" && key === "pack#1";
        expect([action, key, may(action, key)]).toEqual([action, key, readsPacks]);
      }
    }
    for (const key of ["target#other", "target#tests2", "minute#other", "ledger#3", "ledger", "job"]) {
      expect([key, may("UpdateItem", key)]).toEqual([key, false]);
    }
    for (const key of ["ledger#3", "ledger", "minute#tests"]) expect([key, may("GetItem", key)]).toEqual([key, false]);
    expect(may("GetItem", "job")).toBe(true);
    expect(may("UpdateItem", "pack#1", "target#other")).toBe(false);
    expect([may("BatchGetItem", "pack#1", "pack#2"), may("BatchGetItem", "pack#1", "tally#3")]).toEqual([true, false]);
  });
});

describe("the permissions on a key", () => {
  it("are those that CDK grants for a table with a key, for what a function does with the table", () => {
    const granted = { read: grantsOfCdk("grantReadData"), write: grantsOfCdk("grantReadWriteData") };

    for (const name of ["two-regions", "two-accounts"] as const) {
      const layout = exampleLayout(name);
      for (const one of layout.stacks.flatMap(({ functions }) => functions)) {
        const used = keyUsesOf(one, layout).find(({ stack }) => stack.table)?.actions ?? [];
        for (const kind of ["read", "write"] as const) {
          for (const pattern of granted[kind])
            expect([one.name, used.some(matching(pattern))]).toEqual([one.name, true]);
        }
        // No more than CDK: without keys to manage, and without grants.
        for (const action of used) expect(granted.write.some((pattern) => matching(pattern)(action))).toBe(true);
      }
    }
  });

  it("let a function only decrypt what it only receives, and encrypt what it sends", () => {
    const layout = layoutOf([
      `queue: ${place}`,
      "state: dynamodb:eu-west-1/packs",
      "targets:",
      "  a: { url: https://a, rate: 1/s, sample: 10%, region: us-east-1 }",
      "aws: { key: own }",
    ]);
    const uses = (name: string, region: string) => {
      const one = layout.stacks.flatMap(({ functions }) => functions).find((each) => each.name === name);
      return one && keyUsesOf(one, layout).find(({ stack }) => stack.region === region)?.actions;
    };

    expect(uses("packs-fanout", "us-east-1")).toEqual(["kms:Decrypt", "kms:GenerateDataKey"]);
    expect(uses("packs-replay-a", "us-east-1")).toEqual(["kms:Decrypt", "kms:GenerateDataKey"]);
    expect(uses("packs-replay-a", "eu-central-1")).toBeUndefined();
    expect(uses("packs-replay-a", "eu-west-1")).toContain("kms:ReEncryptFrom");
  });

  it("are in the key's own policy for functions of other accounts", () => {
    const { directory } = synthesise(
      configFile(
        `queue: ${place}`,
        "state: dynamodb:arn:aws:dynamodb:eu-central-1:111122223333:table/packs",
        "targets:",
        "  a: { url: https://a, rate: 1/s, queue: https://sqs.eu-central-1.amazonaws.com/444455556666/packs-a }",
        "aws: { key: own }",
      ),
    );
    const { stacks } = layoutOf([
      `queue: ${place}`,
      "state: dynamodb:arn:aws:dynamodb:eu-central-1:111122223333:table/packs",
      "targets:",
      "  a: { url: https://a, rate: 1/s, queue: https://sqs.eu-central-1.amazonaws.com/444455556666/packs-a }",
    ]);
    const [key] = new CloudTemplate(directory, stacks[0]).ofType("AWS::KMS::Key");
    const foreign = key.properties.KeyPolicy.Statement.filter(
      ({ Condition }: { readonly Condition?: object }) => Condition && "ArnEquals" in Condition,
    );

    expect(foreign).toHaveLength(1);
    expect(foreign[0].Action).toEqual(
      ["Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom"]
        .concat("ReEncryptTo")
        .map((action) => `kms:${action}`),
    );
  });
});

/** The grants of all functions: kind, action and partition. */
function grantsOf(layout: Layout): readonly string[] {
  const grants = layout.stacks.flatMap(({ functions }) =>
    functions.flatMap((one) =>
      tablePermissions(one, { arn: "table" }).flatMap((permission) => {
        const { actions } = permission;
        return actions.flatMap((action) =>
          partitionsIn(permission).map((partition) => toGrant(one, action, partition)),
        );
      }),
    ),
  );
  return [...new Set(grants)];
}

/** The grants that a call to the table used. */
function toUses(layout: Layout, { service, principal, action, context }: DeployedCloud["gateway"]["calls"][number]) {
  if (service !== "dynamodb") return [];
  const one = layout.stacks.flatMap(({ functions }) => functions).find(({ name }) => name === principal);
  if (!one) return [];
  const partitions = [context["dynamodb:LeadingKeys"]].flat();
  return tablePermissions(one, { arn: "table" })
    .filter(({ actions }) => actions.includes(action))
    .flatMap((permission) => partitionsIn(permission))
    .filter((pattern) => partitions.every((partition) => matching(pattern)(partition)))
    .map((pattern) => toGrant(one, action, pattern));
}

function partitionsIn({ conditions }: Permission): readonly string[] {
  return [conditions?.["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] ?? []].flat();
}

/** The same for the replays of all targets: not every one has a job. */
function toGrant({ kind, target }: FunctionLayout, action: string, partition: string): string {
  return `${kind} ${action.replace("dynamodb:", "")} ${partition.replace(`#${target}`, "#TARGET")}`;
}

/** Whether a replay function has asked for a job. */
function readsJob({ gateway }: DeployedCloud): boolean {
  return gateway.calls.some(
    ({ principal, context }) =>
      principal === "packs-replay-two" && [context["dynamodb:LeadingKeys"]].flat().includes("job"),
  );
}

/**
 * Leaves the tallies of two processes that died two hours ago: one with an operation that it had announced, one of the version
 * before.
 */
async function leaveOldTallies(cloud: DeployedCloud): Promise<void> {
  const now = () => Date.now() - 2 * 3_600_000;
  const state = DynamoDbState.open({ ...cloud.table, now, callTimeoutMs: 15_000 });
  const targets = new Map([["one", new Map()]]);
  await state.ledger.recordFanOut({ pack: "old", agent: "edge~1", sequence: 1, requests: 1, targets });
  const client = new TableClient({ ...cloud.table, callTimeoutMs: 15_000 });
  const { written } = await client.update(oldTallyLayout.keyOf("before"), {
    update: "SET generation = :one, writtenAtMs = :now, ended = :ended, sums = :sums, announced = :announced",
    condition: "attribute_not_exists(generation)",
    values: {
      ":one": { N: "1" },
      ":now": { N: `${now()}` },
      ":ended": { BOOL: false },
      ":sums": { S: '{"a":{"edge~0":[1,1,1]}}' },
      ":announced": { S: "[]" },
    },
  });
  expect(written).toBe(true);
  client.close();
}

/** Delivers messages to a function as a queue does if it was not told that they were handled. */
async function deliverAgain(cloud: DeployedCloud, name: string, messages: readonly OutgoingMessage[]): Promise<void> {
  const process = await cloud.open(name);
  const deliveries = messages.map((message, i) => delivery(message, { messageId: `again-${i}`, receiveCount: 2 }));
  await process.invoke(toLambdaEvent(deliveries), cloud.timeoutMsOf(name));
  await process.kill();
}

/** The KMS actions, which may end with a wildcard, that CDK grants for a table with a key. */
function grantsOfCdk(grant: "grantReadData" | "grantReadWriteData"): readonly string[] {
  const stack = new Stack(new App(), "Other");
  const table = new Table(stack, "Table", {
    partitionKey: { name: "pk", type: AttributeType.STRING },
    encryption: TableEncryption.CUSTOMER_MANAGED,
    encryptionKey: new Key(stack, "Key"),
  });
  table[grant](new Role(stack, "Role", { assumedBy: new ServicePrincipal("lambda.amazonaws.com") }));
  const [policy] = Object.values(Template.fromStack(stack).findResources("AWS::IAM::Policy"));
  const statements = policy.Properties.PolicyDocument.Statement as { readonly Action: string | readonly string[] }[];
  return statements.flatMap(({ Action }) => [Action].flat()).filter((action) => action.startsWith("kms:"));
}

function matching(pattern: string): (text: string) => boolean {
  return (text) => (pattern.endsWith("*") ? text.startsWith(pattern.slice(0, -1)) : text === pattern);
}
