import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { configSchema } from "../../../relay/config/schema.ts";
import { ConfigError, parseConfigText, readConfigValue } from "../../../relay/config/text.ts";
import { toConfig } from "../../../relay/config/to-config.ts";
import { blocksOf, readDocument, root } from "../../support/data/documents.ts";
import { assertSame, assertTrue, type FileKind, type Seed, toJson } from "./file-kind.ts";

const file = "/spoa-relay.yaml";
// Every variable is set.
const env = new Proxy({}, { get: () => "0123456789abcdef", has: () => true }) as Readonly<Record<string, string>>;
const examples = join(root, "infra/examples");
const texts = [
  ...["README.md", "relay/README.md", "agent/README.md"].flatMap((name) =>
    blocksOf(readDocument(name).text).flatMap(({ language, text }) => (language === "yaml" ? [text] : [])),
  ),
  ...readdirSync(examples).map((name) => readFileSync(join(examples, name), "utf8")),
];
// Aliases of aliases, which would be a billion values.
const aliases = Array.from({ length: 9 }, (_, i) =>
  `a${i}: &a${i} [${`*a${i - 1},`.repeat(10)}]`.replaceAll("*a-1,", "x,"),
);
const seeds: readonly Seed[] = [
  ...texts.map((text) => ({ bytes: Buffer.from(text), accepted: 1, refused: 0 })),
  { bytes: Buffer.from(aliases.join("\n")), accepted: 0, refused: 1 },
];

const marks = [
  ..."\n  |\n- |: |{|}|[|]|,|#|&a |*a|<<: *a|? |!!binary |!!map |!!set |--- |...|%YAML 1.1\n|| |>- |'|\"|\\x00|\\u2028|\\ud800".split(
    "|",
  ),
  ...[
    "$\u007bA}",
    "$\u007bA:-",
    "${",
    "$",
    "null",
    "~",
    "true",
    "yes",
    ".inf",
    ".nan",
    "0o7",
    "2026-01-01",
    "__proto__: ",
    "constructor: ",
  ],
  ..."targets:\n|  a: {url: http://a, rate: 1/s}\n|captures:\n|agent:\n|queue: |rate: |sample: |when: {path: |keep: |token: |sign: ".split(
    "|",
  ),
  ..."200/s|0.01/h|unlimited|100%|1e999%|250ms|36500d|1PiB|[::1]:1|unix:|s3://a/b|dynamodb:a|22:00-06:00 Europe/Berlin|^(?!a)".split(
    "|",
  ),
  "a: &a [*a, *a]\n",
  "a0: &a0 [x,x]\na1: &a1 [*a0,*a0]\na2: &a2 [*a1,*a1]\na3: [*a2,*a2]\n",
];

/** spoa-relay.yaml. */
export const configurations: FileKind = {
  name: "configuration",
  seeds,
  share: 30,
  marks,
  // Each character may be a mistake of its own, with an error of the library that reads YAML.
  expandedBytes: (bytes) => 6 * bytes.length,
  read: (bytes) => {
    // As `readFileSync` decodes it.
    const text = bytes.toString();
    let config: object;
    try {
      config = load(text);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      checkMessage(error.message, text);
      return { accepted: 0, refused: 1 };
    }
    // Written in another form, it is the same.
    const value = readConfigValue(text, file, env);
    const plain = stringify(JSON.parse(JSON.stringify(value)));
    assertSame(parse(plain), value, "the values, written again");
    if (!text.includes("$"))
      assertSame(withoutPatterns(load(plain)), withoutPatterns(config), "a configuration, written again");
    return { accepted: 1, refused: 0 };
  },
};

function load(text: string): object {
  return toConfig(parseConfigText(text, file, env, configSchema), file, env);
}

/** Each line names the file, and a line or a key of it. */
function checkMessage(message: string, text: string): void {
  const lines = text.split("\n").length;
  const [first] = message.split("\n");
  const place = /^\/spoa-relay\.yaml:(?:(\d+): |\s?[\w.]+: )/.exec(first);
  assertTrue(place !== null, () => `a mistake has no place: ${toJson(message)}`);
  assertTrue(Number(place[1] ?? 1) >= 1 && Number(place[1] ?? 1) <= lines, () => `there is no such line: ${first}`);
}

/** Patterns are objects without own fields, and sets have none either. */
function withoutPatterns(config: object): unknown {
  return JSON.parse(
    JSON.stringify(config, (_key, value) => {
      if (value instanceof Set || value instanceof Map) return [...value];
      return value === Number.POSITIVE_INFINITY ? "unlimited" : value;
    }),
  );
}
