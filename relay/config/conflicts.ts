import { resolve } from "node:path";
import type { Pattern } from "../rules/pattern.ts";
import { isLoopback, type ListenAddress } from "./forms.ts";

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

/** The text in place of the value of a redacted header. */
const redacted = "redacted";

/**
 * Keys and conditions of targets and captures on headers that the agent redacts: they see the same value in all requests. The
 * agent's own `sample` and `when` see the received one.
 */
export function findRedactedUses(
  redact: readonly string[],
  places: Readonly<Record<string, Recipients>>,
): readonly Conflict[] {
  return Object.entries(places).flatMap(([place, recipients]) =>
    Object.entries(recipients).flatMap(([name, recipient]) => findRedactedIn([place, name], recipient, redact)),
  );
}

function findRedactedIn(path: readonly string[], { stickyBy, key, when }: Recipient, redact: readonly string[]) {
  const keys = Object.entries({ stickyBy, key }).flatMap(([name, source]): Conflict[] => {
    const part = source?.cookie === undefined ? "header" : "cookie";
    const header = part === "cookie" ? "cookie" : (source?.header ?? "");
    const mistake = `agent.redact replaces the header ${header}, so all requests have the same key: choose another key, or do not redact it`;
    return redact.includes(header) ? [{ path: [...path, name, part], mistake }] : [];
  });
  const conditions = Object.entries(when?.header ?? {}).flatMap(([header, regex]): Conflict[] => {
    const mistake = `agent.redact replaces the header ${header} by "${redacted}", which this does not match: no request would be taken`;
    return redact.includes(header) && !regex.test(redacted)
      ? [{ path: [...path, "when", "header", header], mistake }]
      : [];
  });
  return [...keys, ...conditions];
}
