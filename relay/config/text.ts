import { type Document, isMap, isScalar, LineCounter, parseDocument, visit } from "yaml";
import type { z } from "zod";

/** A configuration that cannot be used. The message names file, line and key of every mistake. */
export class ConfigError extends Error {
  readonly code = "BAD_CONFIG";

  constructor(mistakes: readonly string[]) {
    super(mistakes.join("\n"));
    this.name = "ConfigError";
  }
}

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Parses YAML, puts environment variables in place of `${NAME}` (`${NAME:-default}` where it may be unset) and checks the
 * result. Throws `ConfigError` with one line a mistake.
 */
export function parseConfigText<Schema extends z.ZodType>(
  text: string,
  file: string,
  env: Variables,
  schema: Schema,
): z.output<Schema> {
  const lines = new LineCounter();
  const document = readDocument(text, file, env, lines);
  const result = schema.safeParse(toValue(document, file) ?? {});
  if (result.success) return result.data;
  throw new ConfigError(
    result.error.issues.map((issue) => {
      const path = issue.path.map(String);
      const culprit = issue.code === "unrecognized_keys" ? [...path, issue.keys[0]] : path;
      const line = lines.linePos(offsetOf(document.contents, culprit)).line;
      // What is wrong with the key of a record stands one level deeper.
      const message = issue.code === "invalid_key" ? issue.issues[0].message : issue.message;
      return `${file}:${line}: ${path.length > 0 ? `${path.join(".")}: ` : ""}${message}`;
    }),
  );
}

/** As `parseConfigText`, but what stands there is not checked. */
export function readConfigValue(text: string, file: string, env: Variables): unknown {
  return toValue(readDocument(text, file, env, new LineCounter()), file);
}

function readDocument(text: string, file: string, env: Variables, lines: LineCounter): Document {
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const mistakes = document.errors.map((error) => `${file}:${lines.linePos(error.pos[0]).line}: ${error.message}`);
  visit(document, {
    Scalar(_key, node) {
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
      // As if the value stood in the file: a number without quotes is a number.
      if (node.type === "PLAIN") node.value = toPlainValue(node.value as string);
    },
    Alias(_key, node) {
      if (node.resolve(document)) return;
      const line = lines.linePos(node.range?.[0] ?? 0).line;
      mistakes.push(`${file}:${line}: *${node.source} refers to an anchor that does not stand before it`);
    },
  });
  if (mistakes.length > 0) throw new ConfigError(mistakes);
  return document;
}

/** The line of the innermost key of the path that is there. */
export function findLine(text: string, path: readonly string[]): number {
  const lines = new LineCounter();
  const { contents } = parseDocument(text, { lineCounter: lines });
  return lines.linePos(offsetOf(contents, path)).line;
}

function toValue(document: Document, file: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    // Aliases of aliases of aliases: yaml refuses to multiply them out.
    throw new ConfigError([`${file}:1: ${(error as Error).message}`]);
  }
}

function toPlainValue(text: string): string | number | boolean {
  if (/^\d+$/.test(text)) return Number(text);
  return text === "true" || text === "false" ? text === "true" : text;
}

// Where the innermost key of the path stands that is there at all: a missing key is reported at its parent.
function offsetOf(root: unknown, path: readonly string[]): number {
  let node = root;
  let offset = 0;
  for (const step of path) {
    if (!isMap(node)) break;
    const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === step);
    if (!pair) break;
    if (isScalar(pair.key)) offset = pair.key.range?.[0] ?? offset;
    node = pair.value;
  }
  return offset;
}
