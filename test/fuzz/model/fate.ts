import { createHash, createHmac } from "node:crypto";
import { type ModelRequest, valuesOf } from "./request.ts";
import type { ModelSetting } from "./rules.ts";

/** What becomes of a request that is not packed; undefined for one that is. */
export type Fate = "sampledOut" | "filtered" | "looped" | "upgrade" | "CONNECT" | "OPTIONS *";

/** @param random the next random number of the agent, taken only by a sample that is not sticky */
export function fateOf(request: ModelRequest, setting: ModelSetting, random: () => number): Fate | undefined {
  if (!isSampled(request, setting, random)) return "sampledOut";
  if (!isWanted(request, setting)) return "filtered";
  if (isLooped(request, setting)) return "looped";
  const { method, path, isHostOnly } = request;
  if (method === "CONNECT") return "CONNECT";
  if (method === "OPTIONS" && (path === "" || isHostOnly)) return "OPTIONS *";
  return isUpgrade(request) ? "upgrade" : undefined;
}

function isSampled(request: ModelRequest, { fraction, stickyBy }: ModelSetting, random: () => number): boolean {
  if (stickyBy === undefined) return fraction === 1 || random() < fraction;
  const key = stickyBy === "src" ? sourceOf(request) : cookieOf(request, stickyBy.cookie);
  // All settings of the fuzzer let in what has no key.
  if (!key) return true;
  const hash = createHash("sha256")
    .update(Buffer.from(`agent\0${key}`, "utf8"))
    .digest("hex");
  return Number.parseInt(hash.slice(0, 12), 16) / 2 ** 48 < fraction;
}

function sourceOf({ src, srcIsAddress }: ModelRequest): string {
  return srcIsAddress ? Buffer.from(src, "latin1").toString("hex") : src;
}

function cookieOf({ headers }: ModelRequest, name: string): string | undefined {
  const pairs = valuesOf(headers, "cookie").flatMap((value) => value.split(";"));
  return pairs
    .map((pair) => /^([^=]+)=([\s\S]*)$/.exec(pair))
    .find((pair) => pair?.[1].trim() === name)?.[2]
    .trim();
}

function isWanted({ method, path, headers }: ModelRequest, setting: ModelSetting): boolean {
  if (setting.methods && !setting.methods.includes(method)) return false;
  if (setting.path !== undefined && !isFound(setting.path, path)) return false;
  if (!setting.header) return true;
  const [name, pattern] = setting.header;
  const [value] = valuesOf(headers, name);
  return value !== undefined && isFound(pattern, value);
}

/** relay/README.md, Regular expressions: a text that is longer than 64 KiB never matches. */
function isFound(pattern: string, text: string): boolean {
  return text.length <= 65_536 && new RegExp(pattern).test(text);
}

/** Whether the first X-Mirror-Id is there, or with a key, is signed: `ID.SIGNATURE`. */
function isLooped({ headers }: ModelRequest, { loopKey }: ModelSetting): boolean {
  const [mark] = valuesOf(headers, "x-mirror-id");
  if (mark === undefined || loopKey === undefined) return mark !== undefined;
  const [, id, signature] = /^([\s\S]+)\.([\s\S]{22})$/.exec(mark) ?? [];
  if (id === undefined || mark.length > 4_096) return false;
  const right = createHmac("sha256", loopKey).update(Buffer.from(id, "latin1")).digest("base64");
  return signature === right.slice(0, 22).replaceAll("+", "-").replaceAll("/", "_");
}

/** Whether Connection names an Upgrade (RFC 9110 7.8) to something else than HTTP or TLS. */
function isUpgrade({ headers }: ModelRequest): boolean {
  const tokensOf = (name: string) =>
    valuesOf(headers, name).flatMap((value) => value.split(",").map((token) => token.trim().toLowerCase()));
  const others = tokensOf("upgrade").filter((name) => name !== "" && !/^(?:h2|h2c|(?:http|tls)\/[\d.]+)$/.test(name));
  return others.length > 0 && tokensOf("connection").includes("upgrade");
}
