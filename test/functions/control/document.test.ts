import { describe, expect, it } from "vitest";
import { z } from "zod";
import { ControlBench } from "../../support/benches/control-bench.ts";
import { packMessage } from "../../support/data/packs.ts";

// OpenAPI 3.1.0, sections 4.8.1 to 4.8.25: the parts that this document uses.

interface Operation {
  readonly summary?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly description?: string; readonly content?: Content }>>;
  readonly security?: readonly Readonly<Record<string, readonly string[]>>[];
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly schema: Schema;
}

type Content = Readonly<Record<string, { readonly schema: Schema }>>;
type Schema = Readonly<Record<string, unknown>>;

describe("the OpenAPI document", () => {
  it("has its version of OpenAPI, title and version", async () => {
    const { status, type, json } = await new ControlBench().get("/openapi.json");

    expect([status, type]).toEqual([200, "application/json"]);
    expect(json.openapi).toMatch(/^3\.1\.\d+$/);
    expect(json.info).toMatchObject({ title: expect.any(String), version: expect.stringMatching(/^\d+\.\d+\.\d+$/) });
  });

  it("has exactly the routes that are served", async () => {
    const bench = new ControlBench();
    const { operations } = await documentOf(bench);
    const served = bench.app.routes
      .filter(({ method, path }) => method !== "ALL" && path !== "/openapi.json")
      .map(({ method, path }) => `${method.toLowerCase()} ${path.replace(/:(\w+)/g, "{$1}")}`);

    expect(operations.map(({ name }) => name).toSorted()).toEqual([...new Set(served)].toSorted());
  });

  it("describes the parameters and answers of each operation", async () => {
    for (const { name, path, operation } of (await documentOf(new ControlBench())).operations) {
      const { summary, parameters = [], responses } = operation;
      const named = parameters.filter((parameter) => parameter.in === "path").map((parameter) => parameter.name);
      const keys = parameters.map((parameter) => `${parameter.in} ${parameter.name}`);

      expect([name, summary]).toEqual([name, expect.stringMatching(/./)]);
      expect([name, named]).toEqual([name, Array.from(path.matchAll(/\{(\w+)\}/g), ([, parameter]) => parameter)]);
      expect([name, new Set(keys).size]).toEqual([name, keys.length]);
      expect(parameters.every((parameter) => parameter.in !== "path" || parameter.required === true)).toBe(true);
      for (const [status, { description }] of Object.entries(responses)) {
        expect([name, status, description]).toEqual([name, expect.stringMatching(/^[1-5]\d\d$/), expect.any(String)]);
      }
    }
  });

  it("describes every error as a problem", async () => {
    for (const { path, operation } of (await documentOf(new ControlBench())).operations) {
      if (!path.startsWith("/v1/") || path === "/v1/health") continue;
      for (const [status, { content = {} }] of Object.entries(operation.responses)) {
        if (status !== "200") expect(Object.keys(content)).toEqual(["application/problem+json"]);
      }
    }
  });

  it("refers only to schemas and security schemes that it has", async () => {
    const { json } = await new ControlBench().get("/openapi.json");
    const references = [...JSON.stringify(json).matchAll(/"\$ref":"([^"]+)"/g)].map(([, reference]) => reference);
    const { operations } = await documentOf(new ControlBench());
    const schemes = [json, ...operations.map(({ operation }) => operation)].flatMap(({ security = [] }) =>
      security.flatMap((scheme: object) => Object.keys(scheme)),
    );

    expect(references.length).toBeGreaterThan(10);
    for (const reference of references) {
      const [, name] = /^#\/components\/schemas\/([\w.-]+)$/.exec(reference) ?? [];
      expect([reference, name in json.components.schemas]).toEqual([reference, true]);
    }
    expect(new Set(schemes)).toEqual(new Set(Object.keys(json.components.securitySchemes)));
  });

  it("has examples that match their schemas, and bodies that the API accepts", async () => {
    const bench = new ControlBench();
    const { read, examples } = await documentOf(bench);

    expect(examples.length).toBeGreaterThan(8);
    for (const { schema, example } of examples) expect(() => read(schema, example)).not.toThrow();
    for (const change of bodyExamples(examples, "rate", "sample")) {
      expect((await bench.send("PATCH", "/v1/targets/staging", change)).status).toBe(200);
    }
    for (const { example } of examples.filter(({ schema }) => "id" in propertiesOf(schema))) {
      const { status } = await bench.send("POST", "/v1/queues/staging/dead-letters/redrive", example);
      expect([200, 404]).toContain(status);
    }
  });

  it("describes every key of the answers", async () => {
    const bench = new ControlBench({ targets: [{ ratePerSecond: 3 }] });
    await bench.queue.deadLetters.send([packMessage()]);
    await bench.state.figures.add("staging", bench.nowMs - 30_000, new Map([["l30", 2]]));
    const [{ messageId }] = await bench.queue.deadLetters.browse(1);
    const { operations, read } = await documentOf(bench);

    for (const { path, method, operation } of operations.filter((one) => one.method === "get")) {
      const named = path.replace(/\{(target|queue)\}/, "staging").replace("{id}", messageId);
      const { status, type, json } = await bench.get(named);
      const content = operation.responses[status].content ?? {};
      const schema = content[type.split(";")[0]]?.schema;

      expect([method, named, status, schema === undefined]).toEqual([method, named, 200, false]);
      expect(() => read(schema as Schema, json)).not.toThrow();
    }
    const { json: problem } = await bench.get("/v1/targets/staging/figures?minutes=0");
    expect(() => read({ $ref: "#/components/schemas/Problem" }, problem)).not.toThrow();
    expect(() => read({ $ref: "#/components/schemas/Problem" }, { ...problem, more: 1 })).toThrow();
  });
});

interface Example {
  readonly schema: Schema;
  readonly example: unknown;
}

async function documentOf(bench: ControlBench) {
  const { json } = await bench.get("/openapi.json");
  const operations = Object.entries(json.paths as Record<string, Record<string, Operation>>).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ name: `${method} ${path}`, path, method, operation })),
  );
  /** Throws if a value does not match a schema of the document, or has a key that the schema does not have. */
  const read = (schema: Schema, value: unknown): unknown => {
    const whole = { ...schema, $defs: json.components.schemas };
    const text = JSON.stringify(whole).replaceAll("#/components/schemas/", "#/$defs/");
    return z.fromJSONSchema(JSON.parse(text, withoutOtherKeys)).parse(value);
  };
  return { operations, read, examples: [...findExamples(json)] };
}

function withoutOtherKeys(_: string, value: unknown): unknown {
  const isObject = typeof value === "object" && value !== null && "properties" in value;
  return isObject ? { ...value, additionalProperties: false } : value;
}

function* findExamples(value: unknown): Generator<Example> {
  if (typeof value !== "object" || value === null) return;
  const { examples, type } = value as { readonly examples?: unknown; readonly type?: unknown };
  if (Array.isArray(examples) && type !== undefined) {
    for (const example of examples) yield { schema: value as Schema, example };
  }
  for (const part of Object.values(value)) yield* findExamples(part);
}

function bodyExamples(examples: readonly Example[], ...keys: readonly string[]): unknown[] {
  return examples
    .filter(({ schema }) => keys.every((key) => key in propertiesOf(schema)) && schema.minProperties === 1)
    .map(({ example }) => example);
}

function propertiesOf({ properties = {} }: Schema): object {
  return properties as object;
}
