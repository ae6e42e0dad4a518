import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { type Layout, toLayout } from "../../infra/layout.ts";
import { permissionsOf } from "../../infra/permissions.ts";
import { loadConfig } from "../../relay/config/load.ts";
import { synthesise } from "../support/aws/synthesis.ts";
import { exampleFile, exampleNames } from "../support/data/layouts.ts";
import { configFile } from "../support/lambda/lambda-config.ts";
import { run } from "../support/processes/command-line.ts";

const queue = "queue: https://sqs.eu-central-1.amazonaws.com/111122223333/shop";
const mapping = "AWS::Lambda::EventSourceMapping";
const abroad = "arn:aws:dynamodb:us-east-1:444455556666:table/shop";

const configurations: readonly (readonly [string, () => string])[] = [
  ...exampleNames.map((name) => [name, () => exampleFile(name)] as const),
  [
    "one target, and a table in another region",
    () => configFile(queue, "state: dynamodb:eu-west-1/shop", "targets: { a: { url: https://a, rate: 1/s } }"),
  ],
  [
    "three regions, and a table in the second",
    () =>
      configFile(
        queue,
        "state: dynamodb:eu-west-1/shop",
        "targets:",
        "  a: { url: https://a, rate: 1/s, region: us-east-1 }",
        "  b: { url: https://a, rate: 1/s, region: eu-west-1 }",
      ),
  ],
  [
    "a table in another region of another account, and a target in a third",
    () =>
      configFile(
        queue,
        `state: dynamodb:${abroad}`,
        "targets:",
        "  a: { url: https://a, rate: 1/s, queue: https://sqs.eu-west-1.amazonaws.com/777788889999/shop-a }",
        "  b: { url: https://a, rate: 1/s }",
      ),
  ],
];

describe("a first deployment", () => {
  it.each(configurations)("invokes no function before the table exists: %s", (_, write) => {
    const file = write();
    const { directory } = synthesise(file);
    const layout = toLayout(loadConfig(file, {}));
    const order = DeploymentOrder.read(directory, layout);
    const table = order.find("AWS::DynamoDB::Table");

    for (const { kind, name, reads } of layout.stacks.flatMap(({ functions }) => functions)) {
      if (kind === "control") continue;
      const starter = kind === "schedule" ? order.find("AWS::Scheduler::Schedule") : order.find(mapping, name);
      if (order.isBefore(table, starter)) continue;
      // This mapping may exist before the table: then it must have nothing to deliver until the table exists.
      const senders = sendersTo(layout, reads?.queue.arn ?? "").filter((sender) => sender.name !== name);
      expect(senders.map((sender) => sender.kind)).toContain("fanout");
      for (const sender of senders.filter((one) => one.kind !== "control")) {
        const start = sender.kind === "schedule" ? "AWS::Scheduler::Schedule" : mapping;
        expect([name, sender.name, order.isBefore(table, order.find(start, sender.name))]).toEqual([
          name,
          sender.name,
          true,
        ]);
      }
    }
  });

  it("sends to no queue before it exists", () => {
    const file = exampleFile("two-accounts");
    const { directory } = synthesise(file);
    const layout = toLayout(loadConfig(file, {}));
    const order = DeploymentOrder.read(directory, layout);
    const fanOut = order.find(mapping, "shop-fanout");

    for (const { name } of layout.stacks.flatMap(({ queues }) => queues)) {
      expect([name, order.isBefore(order.find("AWS::SQS::Queue", name), fanOut)]).toEqual([name, true]);
    }
  });

  it("is in this order in cdk deploy --all, which npm run deploy runs", async () => {
    const [, [, write]] = configurations.slice(-2);
    const { directory } = synthesise(write());
    const cdk = resolve(import.meta.dirname, "../../node_modules/.bin/cdk");
    const { stdout } = await run(cdk, "list", "--app", directory, "--show-dependencies", "--json");
    const listed = JSON.parse(stdout) as { readonly id: string; readonly dependencies: readonly { id: string }[] }[];
    const source = readFileSync(resolve(import.meta.dirname, "../../infra/deploy.ts"), "utf8");

    const after = Object.fromEntries(
      listed.map(({ id, dependencies }) => [id, dependencies.map((one) => one.id).sort()]),
    );
    expect(after).toEqual({
      "shop-444455556666-us-east-1": [],
      "shop-777788889999-eu-west-1": ["shop-444455556666-us-east-1"],
      shop: ["shop-444455556666-us-east-1", "shop-777788889999-eu-west-1"],
    });
    expect(source).toContain('["deploy", "--all", ');
    expect(source).not.toContain("--exclusively");
  });
});

/** The functions that are allowed to send to a queue. */
function sendersTo(layout: Layout, arn: string) {
  return layout.stacks
    .flatMap(({ functions }) => functions)
    .filter((one) =>
      permissionsOf(one, layout).some(
        ({ actions, resources }) => actions.includes("sqs:SendMessage") && resources.includes(arn),
      ),
    );
}

interface Resource {
  readonly Type: string;
  readonly DependsOn?: string | readonly string[];
  readonly Properties?: unknown;
}

/** What CloudFormation and cdk make before what, from the templates and the manifest of a synthesis. */
class DeploymentOrder {
  /** By resource, as STACK/ID: what is made before it. */
  readonly #before = new Map<string, readonly string[]>();
  readonly #resources = new Map<string, Resource>();

  static read(directory: string, layout: Layout): DeploymentOrder {
    const order = new DeploymentOrder();
    const { artifacts } = JSON.parse(readFileSync(join(directory, "manifest.json"), "utf8"));
    const templates = layout.stacks.map(({ name }) => {
      const text = readFileSync(join(directory, `${name}.template.json`), "utf8");
      return { name, resources: JSON.parse(text).Resources as Record<string, Resource> };
    });
    for (const { name, resources } of templates) {
      const earlier = templates
        .filter((other) => artifacts[name].dependencies.includes(other.name))
        .flatMap((other) => Object.keys(other.resources).map((id) => `${other.name}/${id}`));
      for (const [id, resource] of Object.entries(resources)) {
        const needed = [...[resource.DependsOn ?? []].flat(), ...referencesIn(resource.Properties)];
        const own = needed.filter((other) => other in resources).map((other) => `${name}/${other}`);
        order.#resources.set(`${name}/${id}`, resource);
        order.#before.set(`${name}/${id}`, [...own, ...earlier]);
      }
    }
    return order;
  }

  /** The only resource of a type, or the one that belongs to a function or has a name. */
  find(type: string, name?: string): string {
    const found = [...this.#resources].filter(
      ([, resource]) => resource.Type === type && (name === undefined || this.#names(resource, name)),
    );
    expect([type, name, found.length]).toEqual([type, name, 1]);
    return found[0][0];
  }

  isBefore(first: string, then: string): boolean {
    const seen = new Set<string>();
    const open = [then];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (next === first) return true;
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(...(this.#before.get(next) ?? []));
    }
    return false;
  }

  #names({ Properties = {} }: Resource, name: string): boolean {
    // biome-ignore lint/suspicious/noExplicitAny: any JSON of CloudFormation.
    const { FunctionName, QueueName, Name } = Properties as any;
    if (QueueName === name || Name === name) return true;
    const referred = FunctionName?.Ref;
    return [...this.#resources].some(
      // biome-ignore lint/suspicious/noExplicitAny: the same.
      ([path, other]) => path.endsWith(`/${referred}`) && (other.Properties as any).FunctionName === name,
    );
  }
}

function referencesIn(value: unknown): readonly string[] {
  if (Array.isArray(value)) return value.flatMap(referencesIn);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, of]) => {
    if (name === "Ref") return [String(of)];
    if (name === "Fn::GetAtt") return [String(of[0])];
    return referencesIn(of);
  });
}
