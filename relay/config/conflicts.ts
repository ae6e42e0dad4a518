import { resolve } from "node:path";
import { createNameTest, type NameTest } from "../redaction/name-patterns.ts";
import { createMask, redacted } from "../redaction/value-mask.ts";
import type { Pattern } from "../rules/pattern.ts";
import { isLoopback, type ListenAddress } from "./forms.ts";
import type { ParsedRedact } from "./redact-schema.ts";

/** Two keys of the configuration that exclude each other: the mistake is reported at `path`. */
export interface Conflict {
  readonly path: readonly string[];
  readonly mistake: string;
}

interface Addresses {
  readonly agent: { readonly listen: ListenAddress; readonly admin: ListenAddress };
  readonly host: { readonly admin: ListenAddress };
  readonly control?: URL;
}

interface ControlledBy {
  readonly control?: URL | undefined;
  readonly host: { readonly token?: string | undefined };
}

interface KeySource {
  readonly header?: string | undefined;
  readonly cookie?: string | undefined;
}

/** A target or a capture. */
interface Recipient {
  readonly stickyBy?: KeySource | undefined;
  readonly key?: KeySource | undefined;
  readonly when?: { readonly header?: Readonly<Record<string, Pattern>> | undefined } | undefined;
}

type Recipients = Readonly<Record<string, Recipient>>;

/** Listeners of one process, or of processes on one machine, that cannot both have their address. */
export function findEqualAddresses({ agent, host, control }: Addresses): {
  readonly always: readonly Conflict[];
  /** Only if agent and host run on one machine. */
  readonly onOneMachine: readonly Conflict[];
} {
  const inAgent = [
    ["agent.listen", agent.listen],
    ["agent.admin", agent.admin],
  ] as const;
  const equal = (
    path: readonly string[],
    address: ListenAddress,
    others: readonly (readonly [string, ListenAddress])[],
  ) =>
    others
      .filter(([, other]) => overlap(address, other))
      .map(([name, other]) => ({ path, mistake: `is the address of ${name}, ${textOf(other)}: use another port` }));
  const called = control && calledHere(control);
  return {
    always: equal(["agent", "admin"], agent.admin, inAgent.slice(0, 1)),
    onOneMachine: [
      ...equal(["host", "admin"], host.admin, inAgent),
      ...(called ? equal(["control"], called, inAgent) : []).map(({ path, mistake }) => ({
        path,
        mistake: mistake.replace("use another port", "it must be where the control API answers, such as host.admin"),
      })),
    ],
  };
}

/** The address behind an origin if it is on this machine: another machine may use the same port. */
function calledHere({ hostname, port, protocol }: URL): ListenAddress | undefined {
  const host = plainHost(hostname.replace(/^\[|\]$/g, ""));
  return isLoopback(host) ? { kind: "tcp", host, port: Number(port) || (protocol === "https:" ? 443 : 80) } : undefined;
}

/** A `control` that commands would send `host.token` to without encryption. Agents and hosts do not use `control`. */
export function findClearControl({ control, host: { token } }: ControlledBy): readonly Conflict[] {
  if (control?.protocol !== "http:" || token === undefined) return [];
  if (isLoopback(control.hostname.replace(/^\[|\]$/g, ""))) return [];
  const mistake = `${control.origin} would get host.token unencrypted: use https, or a tunnel that begins on 127.0.0.1`;
  return [{ path: ["control"], mistake }];
}

function overlap(a: ListenAddress, b: ListenAddress): boolean {
  if (a.kind === "unix" || b.kind === "unix") {
    return a.kind === "unix" && b.kind === "unix" && resolve(a.path) === resolve(b.path);
  }
  // Port 0 is any free port.
  if (a.port !== b.port || a.port === 0) return false;
  const [one, other] = [plainHost(a.host), plainHost(b.host)];
  if (one === other || one === "::" || other === "::") return true;
  const names = ["localhost", "127.0.0.1", "::1"];
  if ([one, other].includes("localhost") && names.includes(one) && names.includes(other)) return true;
  const isV4 = (host: string) => !host.includes(":");
  return (one === "0.0.0.0" && isV4(other)) || (other === "0.0.0.0" && isV4(one));
}

/** One spelling for each host: `0:0::1` is `::1`; `127.1` and `::ffff:7f00:1` are `127.0.0.1`. */
function plainHost(host: string): string {
  const { hostname = host } = URL.parse(`http://${host.includes(":") ? `[${host}]` : host}`) ?? {};
  const plain = hostname.toLowerCase().replace(/^\[|\]$|\.$/g, "");
  const [, high, low] = /^::ffff:([\da-f]+):([\da-f]+)$/.exec(plain) ?? [];
  if (low === undefined) return plain;
  const bytes = [high, low].map((group) => Number.parseInt(group, 16)).flatMap((value) => [value >> 8, value & 255]);
  return bytes.join(".");
}

function textOf(address: ListenAddress): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

/**
 * Keys and conditions of targets and captures on headers and cookies that the agent masks: without `redact.key` they see the same
 * value in all requests. The agent's own `sample` and `when` see the received one.
 */
export function findRedactedUses(
  redact: ParsedRedact,
  places: Readonly<Record<string, Recipients>>,
): readonly Conflict[] {
  const masks: Masks = {
    headers: createNameTest(redact.headers),
    cookies: createNameTest(redact.cookies),
    differ: redact.key !== undefined,
  };
  return Object.entries(places).flatMap(([place, recipients]) =>
    Object.entries(recipients).flatMap(([name, recipient]) => findRedactedIn([place, name], recipient, masks)),
  );
}

interface Masks {
  readonly headers: NameTest;
  readonly cookies: NameTest;
  /** Whether equal values have equal masks, and others do not. */
  readonly differ: boolean;
}

function findRedactedIn(path: readonly string[], { stickyBy, key, when }: Recipient, masks: Masks) {
  const keys = Object.entries({ stickyBy, key }).flatMap(([name, source]): Conflict[] => {
    const mistake = source && findMaskedKey(source, masks);
    return mistake === undefined ? [] : [{ path: [...path, name, source?.header ? "header" : "cookie"], mistake }];
  });
  const mask = createMask(masks.differ ? "any key" : undefined)("any value");
  const conditions = Object.entries(when?.header ?? {}).flatMap(([header, regex]): Conflict[] => {
    const mistake = `agent.redact replaces the header ${header} by "${masks.differ ? `${redacted}-…` : redacted}", which this does not match: no request would be taken`;
    return masks.headers(header) && !regex.test(mask) ? [{ path: [...path, "when", "header", header], mistake }] : [];
  });
  return [...keys, ...conditions];
}

function findMaskedKey({ header, cookie }: KeySource, { headers, cookies, differ }: Masks): string | undefined {
  const same = "so all requests have the same key";
  const advice = "set agent.redact.key, choose another key, or do not redact it";
  if (header !== undefined) {
    return headers(header) && !differ ? `agent.redact replaces the header ${header}, ${same}: ${advice}` : undefined;
  }
  if (cookie === undefined) return undefined;
  if (headers("cookie")) {
    return `agent.redact replaces the header cookie, so no request has this key: choose another key, or mask single cookies (agent.redact.cookies)`;
  }
  return cookies(cookie) && !differ ? `agent.redact replaces the cookie ${cookie}, ${same}: ${advice}` : undefined;
}
