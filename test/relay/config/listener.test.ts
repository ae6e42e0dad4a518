import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Config } from "../../../relay/config/config.ts";
import { loadConfig } from "../../../relay/config/load.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-listener-config-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** The configuration with these keys under `agent:`. */
function load(agent: string): Config {
  const file = join(directory, "spoa-relay.yaml");
  writeFileSync(
    file,
    `agent: { ${agent} }\nqueue: embedded:./data\ntargets: { a: { url: "http://127.0.0.1:1", rate: 1/s } }\n`,
  );
  return loadConfig(file, {});
}

it("resolves the paths of certificates relative to the file", () => {
  const { tls } = load("tls: { cert: agent.pem, key: /etc/agent.key, clientCa: ../ca.pem }").agent;

  expect(tls).toEqual({
    cert: join(directory, "agent.pem"),
    key: "/etc/agent.key",
    clientCa: join(directory, "../ca.pem"),
  });
});

it("reads mode, owner and group of a unix socket", () => {
  const { socket } = load('listen: "unix:/run/a.sock", socket: { mode: "0660", owner: haproxy, group: 99 }').agent;

  expect(socket).toEqual({ mode: 0o660, owner: "haproxy", group: 99 });
});

it.each([
  ['listen: "0.0.0.0:12345"', 1],
  ['listen: "[::]:12345"', 1],
  ["listen: agent.example:12345", 1],
  ['listen: "0.0.0.0:12345", allow: [10.0.0.0/8]', 0],
  ['listen: "0.0.0.0:12345", tls: { cert: a, key: b }', 0],
  ["listen: 127.0.0.1:12345", 0],
  ["listen: localhost:12345", 0],
  ['listen: "[::1]:12345"', 0],
  ['listen: "unix:/run/a.sock"', 0],
])("warns if other hosts can reach the agent without TLS or an allow list: %s", (agent, warnings) => {
  expect(load(agent).warnings.filter((text) => text.includes("agent.listen"))).toHaveLength(warnings);
});

it.each([
  [
    'listen: "unix:/run/a.sock", allow: [::1]',
    "agent.allow: is for TCP, and agent.listen is a unix socket: set its permissions in agent.socket",
  ],
  [
    'socket: { mode: "0660" }',
    "agent.socket: is for a unix socket, and agent.listen is a TCP address: remove it, or write listen: unix:PATH",
  ],
  [
    'listen: "unix:/run/a.sock", socket: { mode: 660 }',
    'agent.socket.mode: must be octal digits in quotes, such as "0660"',
  ],
  ["allow: [10.0.0.0/40]", 'agent.allow.0: "10.0.0.0/40" is not an address or a CIDR, such as 10.0.0.0/8'],
  ["tls: { cert: agent.pem }", "agent.tls.key: is missing"],
])("names the key that is wrong: %s", (agent, message) => {
  expect(() => load(agent)).toThrow(message);
});
