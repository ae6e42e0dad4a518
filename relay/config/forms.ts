import { z } from "zod";
import { findQueueUrlMistake } from "../queue/sqs-url.ts";
import { showUrl } from "../redaction/url-passwords.ts";
import { Pattern, Rewrite } from "../rules/pattern.ts";
import { PatternError } from "../rules/pattern-error.ts";
import { parseAddressRange } from "./address-range.ts";
import {
  explainDuration,
  explainPercentage,
  explainRate,
  explainSize,
  parseDurationMs,
  parseFraction,
  parseRatePerSecond,
  parseSizeBytes,
} from "./units.ts";

// Building blocks that several sections of the configuration share.

// Every object is strict: a misspelt key would silently leave the default in force.
export function section<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? `unknown key ${issue.keys.join(", ")}; allowed here: ${Object.keys(shape).join(", ")}`
        : undefined,
  });
}

/**
 * A text that `parse` converts.
 *
 * @param form what the text must be, such as `a duration`
 * @param explain says what is wrong with a text; undefined if it is valid, or if the form and the examples say enough
 */
export function written<T>(
  parse: (text: string) => T | undefined,
  form: string,
  examples: string[],
  explain: (text: string) => string | undefined = () => undefined,
) {
  const expected = `${form}, such as ${examples.join(" or ")}`;
  return (
    z
      // YAML reads a value such as 100 as a number.
      .string({ error: ({ input }) => (typeof input === "number" && explain(`${input}`)) || demand(input, expected) })
      .transform((text, context) => {
        const mistake = explain(text);
        const value = parse(text);
        if (value !== undefined && mistake === undefined) return value;
        context.addIssue({ code: "custom", message: mistake ?? `"${showUrl(text)}" is not ${expected}` });
        return z.NEVER;
      })
      .meta({ examples })
  );
}

const anyDuration = written(parseDurationMs, "a duration", ["250ms", "30s", "1h"], explainDuration);

/** Says that a key is missing, or what its value must be. */
export function demand(input: unknown, form: string): string {
  return input === undefined ? `is missing; it must be ${form}` : `must be ${form}`;
}

/** A duration, both bounds included. */
export function duration(least: string, most: string) {
  const [leastMs, mostMs] = [parseDurationMs(least) ?? Number.NaN, parseDurationMs(most) ?? Number.NaN];
  return anyDuration.refine((ms) => ms >= leastMs && ms <= mostMs, { error: `must be from ${least} to ${most}` });
}

const anySize = written(parseSizeBytes, "a size", ["48KiB", "64MiB"], explainSize);

/** A size, both bounds included. */
export function size(least: string, most: string) {
  const [leastBytes, mostBytes] = [parseSizeBytes(least) ?? Number.NaN, parseSizeBytes(most) ?? Number.NaN];
  return anySize.refine((bytes) => bytes >= leastBytes && bytes <= mostBytes, {
    error: `must be from ${least} to ${most}`,
  });
}

export const rate = written(parseRatePerSecond, "a rate", ["200/s", "30/min", "unlimited"], explainRate);

export const percentage = written(parseFraction, "a percentage from 0% to 100%", ["50%", "0.5%"], explainPercentage);

/** A regular expression that says whether a request matches. */
const regex = compiled((text) => new Pattern(text));

/** A regular expression for what to replace. */
export const rewritten = compiled((text) => new Rewrite(text));

export const address = written(parseAddress, "an address", [
  "127.0.0.1:12345",
  "[::1]:12345",
  "unix:/run/spoa-relay.sock",
]);

export const addressRange = written(parseAddressRange, "an address or a CIDR", ["10.0.0.0/8", "2001:db8::1"]);

export const headerName = z
  .string()
  .regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/, { error: "is not a valid header name" })
  .transform((name) => name.toLowerCase());

export const headerValue = z.string().regex(/^[\t\x20-\x7e\x80-\xff]*$/, {
  error: "must have no line breaks or control characters, as it is the value of a header",
});

export const region = z
  .string()
  .regex(/^[a-z]{2,}(?:-[a-z]+)+-\d+$/, { error: "must be an AWS region, such as eu-central-1" });

export const sqsExample = "https://sqs.eu-central-1.amazonaws.com/123456789012/spoa-relay";

export const sqsUrl = z.string().transform((text, context) => parseQueueUrl(text, context) ?? z.NEVER);

export const when = section({
  method: z
    .union([z.string(), z.array(z.string()).min(1)], { error: "must be a method or a list of methods" })
    .transform((methods) => (typeof methods === "string" ? [methods] : methods))
    .describe("Methods that match: one, or a list")
    .optional(),
  path: regex.describe("Regular expression that is matched against path and query").optional(),
  header: z.record(headerName, regex).describe("Regular expressions by header name; all must match").optional(),
});

const keySource = {
  header: headerName.describe("The key is the value of this header").optional(),
  cookie: z.string().min(1).describe("The key is the value of this cookie").optional(),
  src: z.literal(true).describe("true: the key is the client's address").optional(),
};

export const stickyBy = section({
  ...keySource,
  missing: z
    .enum(["in", "out"])
    .default("out")
    .describe("Whether requests without the key are in the sample or out of it"),
}).refine((key) => [key.header, key.cookie, key.src].filter((part) => part !== undefined).length === 1, {
  error: "must name exactly one of header, cookie or src",
});

export const requestKey = section(keySource).refine((key) => Object.values(key).length === 1, {
  error: "must name exactly one of header, cookie or src",
});

/** An address to listen on: TCP or a unix socket. */
export type ListenAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** True for an address that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|(?:::ffff:)?127(?:\.\d+){3}|::1)$/i.test(host);
}

function parseAddress(text: string): ListenAddress | undefined {
  if (text.startsWith("unix:")) return text.length > 5 ? { kind: "unix", path: text.slice(5) } : undefined;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text);
  const port = match ? Number(match[3]) : 65_536;
  return match && port < 65_536 ? { kind: "tcp", host: match[1] ?? match[2], port } : undefined;
}

export function parseQueueUrl(text: string, context: z.RefinementCtx): URL | undefined {
  const url = /^https?:/.test(text) ? URL.parse(text) : null;
  const mistake = url ? findQueueUrlMistake(url) : `must be the URL of an SQS queue, such as ${sqsExample}`;
  if (url && mistake === undefined) return url;
  context.addIssue({ code: "custom", message: `${mistake}` });
  return undefined;
}

export function parseOrigin(text: string): URL | undefined {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) return undefined;
  return url.pathname === "/" && !url.search && !url.hash && !url.username && !url.password ? url : undefined;
}

function compiled<T>(compile: (text: string) => T) {
  return z
    .string({ error: "must be a regular expression, such as ^/api/" })
    .transform((text, context) => {
      try {
        return compile(text);
      } catch (error) {
        if (!(error instanceof PatternError)) throw error;
        context.addIssue({ code: "custom", message: error.message });
        return z.NEVER;
      }
    })
    .meta({ examples: ["^/api/"] });
}
