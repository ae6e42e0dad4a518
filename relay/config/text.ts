import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, visit } from "yaml";
import type { z } from "zod";

/** A configuration that cannot be used. The message names file, line and key of every mistake. */
export class ConfigError extends Error {
  readonly code = "BAD_CONFIG";

  constructor(mistakes: readonly string[]) {
    super(mistakes.join("\n"));
    this.name = "ConfigError";
  }
}

// yaml needs stack for each level.
const tooDeep = "keys or lists are nested too deeply";

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Parses YAML, replaces `${NAME}` by environment variables (`${NAME:-default}` if they may be unset) and checks the result.
 * Throws `ConfigError` with one line per mistake.
 */
export function parseConfigText<Schema extends z.ZodType>(
  text: string,
  file: string,
  env: Variables,
  schema: Schema,
): z.output<Schema> {
  const lines = new LineCounter();
  const document = readDocument(text, file, env, lines);
  const result = schema.safeParse(toValue(document, file) ?? {}, { error: explainIssue });
  if (result.success) return result.data;
  throw new ConfigError(
    result.error.issues.map((issue) => {
      const path = toWrittenPath(document.contents, issue.path.map(String));
      const culprit = issue.code === "unrecognized_keys" ? [...path, issue.keys[0]] : path;
      const line = lines.linePos(offsetOf(document.contents, culprit)).line;
      // The message about a record's key is one level deeper.
      const message = issue.code === "invalid_key" ? issue.issues[0].message : issue.message;
      return `${file}:${line}: ${path.length > 0 ? `${path.join(".")}: ` : ""}${message}`;
    }),
  );
}

/** Parses YAML and replaces environment variables like `parseConfigText`, but checks no values. */
export function readConfigValue(text: string, file: string, env: Variables): unknown {
  return toValue(readDocument(text, file, env, new LineCounter()), file);
}

function readDocument(text: string, file: string, env: Variables, lines: LineCounter): Document {
  try {
    return parseText(text, file, env, lines);
  } catch (error) {
    if (error instanceof RangeError) throw new ConfigError([`${file}:1: ${tooDeep}`]);
    throw error;
  }
}

function parseText(text: string, file: string, env: Variables, lines: LineCounter): Document {
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const mistakes = document.errors.map(({ code, message, pos }) => {
    // Depending on where the stack ends, yaml passes on the engine's message.
    const deep = code === "RESOURCE_EXHAUSTION" || /call stack/.test(message);
    return `${file}:${lines.linePos(pos[0]).line}: ${deep ? tooDeep : message}`;
  });
  // Those before the current place. Each look-up by yaml itself would go through the whole document.
  const anchors = new Set<string | undefined>();
  visit(document, {
    Collection(_key, node) {
      anchors.add(node.anchor);
    },
    Scalar(_key, node) {
      anchors.add(node.anchor);
      if (typeof node.value !== "string" || !node.value.includes("${")) return;
      node.value = node.value.replace(
        /\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}/g,
        (_match, name: string, fallback?: string) => {
          const value = env[name] ?? fallback;
          if (value !== undefined) return value;
          const line = lines.linePos(node.range?.[0] ?? 0).line;
          mistakes.push(
            `${file}:${line}: the environment variable ${name} is not set (\${${name}:-default} gives a default)`,
          );
          return "";
        },
      );
      // As if the value were written in the file: a number without quotes is a number.
      if (node.type === "PLAIN") node.value = toPlainValue(node.value as string);
    },
    Alias(_key, node) {
      if (anchors.has(node.source)) return;
      const line = lines.linePos(node.range?.[0] ?? 0).line;
      mistakes.push(`${file}:${line}: *${node.source} refers to an anchor that is not defined before it`);
    },
  });
  if (mistakes.length > 0) throw new ConfigError(mistakes);
  return document;
}

/** The line of the innermost key of the path that exists. */
export function findLine(text: string, path: readonly string[]): number {
  const lines = new LineCounter();
  const { contents } = parseDocument(text, { lineCounter: lines });
  return lines.linePos(offsetOf(contents, path)).line;
}

/** The text at this path of the file, before variables are replaced; undefined if there is no text. */
export function findText(text: string, path: readonly string[]): string | undefined {
  const value = parseDocument(text).getIn(path);
  return typeof value === "string" ? value : undefined;
}

function toValue(document: Document, file: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    // Aliases of aliases of aliases: yaml refuses to multiply them out.
    throw new ConfigError([`${file}:1: ${error instanceof RangeError ? tooDeep : (error as Error).message}`]);
  }
}

/** Zod's own findings in words of the file; undefined leaves them to Zod. */
function explainIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is missing" : `must be ${typeNames[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return `must be ${issue.values.join(" or ")}`;
    case "too_small":
      return isNumeric(issue.origin) ? `must be ${issue.minimum} or more` : "must not be empty";
    case "too_big":
      return isNumeric(issue.origin) ? `must be ${issue.maximum} or less` : `must not be longer than ${issue.maximum}`;
    default:
      return undefined;
  }
}

/** zod has an origin of its own for integers that a double cannot hold exactly. */
function isNumeric(origin: string): boolean {
  return origin === "number" || origin === "int";
}

const typeNames: Readonly<Record<string, string>> = {
  string: "a text, with quotes if it is a number",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "keys and values, as KEY: VALUE",
  record: "keys and values, as KEY: VALUE",
};

function toPlainValue(text: string): string | number | boolean {
  if (/^\d+$/.test(text)) return Number(text);
  return text === "true" || text === "false" ? text === "true" : text;
}

// Offset of the innermost key of the path that exists: a missing key is reported at its parent.
function offsetOf(root: unknown, path: readonly string[]): number {
  let node = root;
  let offset = 0;
  for (const step of path) {
    const found = childOf(node, step);
    if (!found) break;
    offset = found.offset ?? offset;
    node = found.node;
  }
  return offset;
}

/** The path without the positions in lists that are none in the file: `window: 22-06` is read as a list of one. */
function toWrittenPath(root: unknown, path: readonly string[]): readonly string[] {
  let node = root;
  return path.filter((step) => {
    if (isScalar(node) && /^\d+$/.test(step)) return false;
    node = childOf(node, step)?.node;
    return true;
  });
}

function childOf(parent: unknown, step: string): { readonly node: unknown; readonly offset?: number } | undefined {
  if (isSeq(parent)) {
    const item = parent.items[Number(step)];
    return isNode(item) ? { node: item, ...(item.range && { offset: item.range[0] }) } : undefined;
  }
  if (!isMap(parent)) return undefined;
  const pair = parent.items.find(({ key }) => isScalar(key) && String(key.value) === step);
  if (!pair) return undefined;
  const range = isScalar(pair.key) ? pair.key.range : undefined;
  return { node: pair.value, ...(range && { offset: range[0] }) };
}
