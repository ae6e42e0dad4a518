import { describe, expect, it } from "vitest";
import type { z } from "zod";
import { configSchema } from "../../../relay/config/schema.ts";
import { ConfigError, parseConfigText } from "../../../relay/config/text.ts";

/** A key of the file that is not a section. */
interface Leaf {
  readonly path: readonly string[];
  readonly schema: z.ZodType;
}

type Def = {
  readonly type: string;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly innerType?: z.ZodType;
  readonly valueType?: z.ZodType;
  readonly element?: z.ZodType;
  readonly options?: readonly z.ZodType[];
};

/** All keys of the file; `*` stands for any name. */
function* leavesOf(schema: z.ZodType, path: readonly string[] = []): Generator<Leaf> {
  const { type, shape, innerType, valueType, options = [] } = schema.def as unknown as Def;
  if (shape) for (const [key, value] of Object.entries(shape)) yield* leavesOf(value, [...path, key]);
  else if (type === "record" && valueType) yield* leavesOf(valueType, [...path, "*"]);
  else if (innerType) yield* leavesOf(innerType, path);
  else if (options.some((option) => (option.def as unknown as Def).shape)) {
    for (const option of options) yield* leavesOf(option, path);
  } else yield { path, schema };
}

// One of these, or of its own examples, is a right value of every key that holds a number.
const probes = [
  0,
  1,
  5,
  256,
  "1s",
  "1h",
  "5m",
  "30d",
  "1KiB",
  "1MiB",
  "1/s",
  "1%",
  "5 USD",
  "10.0.0.1:80",
  "10.0.0.0/8",
];
const absurd = [-1, 2 ** 32, 2 ** 53, 1e300, -1e300];
const longDigits = [12, 20, 400].map((length) => "9".repeat(length));

function numbersIn(value: unknown): readonly number[] {
  if (typeof value === "number") return [value];
  // Times of day and masks of addresses are numbers of our own, not of the user.
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || value instanceof Set) return [];
  return Object.values(value).flatMap(numbersIn);
}

function numericLeaves(): readonly (Leaf & { readonly right: string | number })[] {
  return [...leavesOf(configSchema)].flatMap(({ path, schema }) => {
    const { examples = [] } = (schema.meta() ?? {}) as { readonly examples?: readonly string[] };
    const right = [...probes, ...examples].find((probe) => {
      const parsed = schema.safeParse(probe);
      return parsed.success && numbersIn(parsed.data).length > 0;
    });
    return right === undefined ? [] : [{ path, schema, right }];
  });
}

/** The same value with another number: too large, or negative. */
function absurdFormsOf(right: string | number): readonly (string | number)[] {
  if (typeof right === "number") return absurd;
  return longDigits.map((digits) => right.replace(/\d+(?=\D*$)/, digits));
}

/** The mistakes that the file with this value has. */
function mistakesOf(path: readonly string[], value: string | number): readonly string[] {
  const file: Record<string, unknown> = {
    queue: "embedded:./data",
    targets: { any: { url: "http://127.0.0.1:1", rate: "1/s" } },
    captures: { kept: { store: "./kept" } },
  };
  let at = file;
  for (const [i, step] of path.entries()) {
    const key = step === "*" ? Object.keys(at)[0] : step;
    if (i === path.length - 1) at[key] = value;
    else at[key] ??= {};
    at = at[key] as Record<string, unknown>;
  }
  try {
    parseConfigText(JSON.stringify(file), "spoa-relay.yaml", {}, configSchema);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split("\n");
    throw error;
  }
}

const leaves = numericLeaves();

describe("every number of the file", () => {
  it("is known to this test", () => {
    const names = leaves.map(({ path }) => path.join("."));

    expect(names.length).toBeGreaterThanOrEqual(30);
    expect(names).toEqual(
      expect.arrayContaining(["targets.*.rate", "agent.journal.maxBytes", "host.admin", "aws.logs"]),
    );
  });

  it.each(leaves.map((leaf) => ({ ...leaf, name: leaf.path.join(".") })))(
    "has bounds that the error names: $name",
    ({ path, schema, right }) => {
      const key = path.at(-1) ?? "";
      for (const value of absurdFormsOf(right)) {
        const mistakes = mistakesOf(path, value).filter((line) => line.includes(`${key}: `));

        expect(mistakes, `${key}: ${String(value).slice(0, 30)}`).not.toEqual([]);
        expect(mistakes.join("\n")).toMatch(bound);
      }
      const whole = schema.safeParse(right).data;
      for (const number of numbersIn(whole)) expect(Number.isSafeInteger(number) || number < 1e6).toBe(true);
    },
  );
});

// "from 1s to 12h", "10000 or less", "above 1000000/s, the highest rate", or the form of a value that has a few digits at most.
const bound =
  /from \S+ to \S+|or less|or more|is above \S+, the |is not (?:an address|a percentage|a rate|a duration|a size|an amount)|must be (?:a retention|a name, or a number from)/;
