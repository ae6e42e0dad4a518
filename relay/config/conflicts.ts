import { resolve } from "node:path";
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
  readonly when?: { readonly header?: Readonly<Record<string, RegExp>> | undefined } | undefined;
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
  const called = control && {
    kind: "tcp" as const,
    host: control.hostname.replace(/^\[|\]$/g, ""),
    port: Number(control.port) || (control.protocol === "https:" ? 443 : 80),
  };
  return {
    always: [
      ...equal(["agent", "admin"], agent.admin, inAgent.slice(0, 1)),
      ...(called ? equal(["control"], called, inAgent) : []).map(({ path, mistake }) => ({
        path,
        mistake: mistake.replace("use another port", "it must be where the control API answers, such as host.admin"),
      })),
    ],
    onOneMachine: equal(["host", "admin"], host.admin, inAgent),
  };
}

function overlap(a: ListenAddress, b: ListenAddress): boolean {
  if (a.kind === "unix" || b.kind === "unix") {
    return a.kind === "unix" && b.kind === "unix" && resolve(a.path) === resolve(b.path);
  }
  // Port 0 is any free port.
  if (a.port !== b.port || a.port === 0) return false;
  const [one, other] = [plainHost(a.host), plainHost(b.host)];
  if (one === other || one === "::" || other === "::") return true;
  if (one === "localhost" || other === "localhost") return isLoopback(one) && isLoopback(other);
  const isV4 = (host: string) => !host.includes(":");
  return (one === "0.0.0.0" && isV4(other)) || (other === "0.0.0.0" && isV4(one));
}

function plainHost(host: string): string {
  const plain = host.toLowerCase().replace(/^::ffff:(?=\d+\.)/, "");
  if (/^[0:]+$/.test(plain) && plain.includes(":")) return "::";
  return /^(?:0{1,4}:){7}0{0,3}1$/.test(plain) ? "::1" : plain;
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

/** A directory that the configuration uses, and the key that names it. */
export interface UsedDirectory {
  readonly path: readonly string[];
  readonly directory: string;
}

/** Directories that two parts would use: each would find the files of the other. Several captures may share one. */
export function findSharedDirectories(
  own: readonly UsedDirectory[],
  captures: readonly UsedDirectory[],
): readonly Conflict[] {
  const owners = new Map<string, string>();
  return [...own, ...captures].flatMap((used) => {
    const { path, directory } = used;
    const owner = owners.get(directory);
    if (!captures.includes(used)) owners.set(directory, path.join("."));
    return owner === undefined ? [] : [{ path, mistake: `is also the directory of ${owner}: use another one` }];
  });
}
