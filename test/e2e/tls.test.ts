import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Listener, type ListenerOptions } from "../../agent/listener/listener.ts";
import { parseAddressRange } from "../../relay/config/address-range.ts";
import type { ListenAddress } from "../../relay/config/forms.ts";
import { HaproxyProcess } from "../../relay/demo/haproxy-process.ts";
import { JsonServer } from "../../relay/demo/json-server.ts";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { faketimeVariables } from "../support/clocks/faketime.ts";
import { until } from "../support/clocks/until.ts";
import { CertificateAuthority, type CertificateFiles } from "../support/data/certificates.ts";
import { LogLines } from "../support/data/log-lines.ts";
import { haproxyProgram, Rig, toPatient } from "../support/processes/rig.ts";
import { freePorts } from "../support/servers/free-ports.ts";

let directory: string;
let authority: CertificateAuthority;
let agentFiles: CertificateFiles;
let haproxyFiles: CertificateFiles;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-tls-"));
  authority = new CertificateAuthority(directory, "authority");
  agentFiles = authority.issue("agent");
  haproxyFiles = authority.issue("haproxy");
});
afterAll(() => rmSync(directory, { recursive: true }));

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const examples = resolve(import.meta.dirname, "../../agent/haproxy");
const serverLine = /^ *server agent1 .*$/m;

interface Pair {
  readonly logged: LogLines;
  readonly listener: Listener;
  readonly address: string;
  /** Sends a request to HAProxy. Returns the status, and whether the listener received the request. */
  readonly send: () => Promise<{ readonly status: number; readonly mirrored: boolean }>;
}

/** Starts a real HAProxy and a listener in this process. `server` follows the address on the server line. */
async function startPair(server: string, changes: Partial<ListenerOptions>, socketPath?: string): Promise<Pair> {
  const [frontend, stats, primary, agent] = await freePorts(4);
  const address: ListenAddress =
    socketPath === undefined ? { kind: "tcp", host: "127.0.0.1", port: agent } : { kind: "unix", path: socketPath };
  const logged = new LogLines();
  let mirrored = 0;
  const listener = new Listener({
    address,
    maxFrameBytes: 1024 * 1024,
    onNotify: () => {
      mirrored++;
    },
    onOversize: () => {},
    log: logged.log,
    ...changes,
  });
  cleanups.push(() => listener.destroy());
  const listening = await listener.listen();
  const primaryServer = new JsonServer("primary", primary, () => {});
  await primaryServer.start();
  cleanups.push(() => primaryServer.stop());
  const at = socketPath === undefined ? `127.0.0.1:${agent}` : `unix@${socketPath}`;
  const example = toPatient(readFileSync(join(examples, "haproxy.cfg"), "utf8"));
  writeFileSync(join(directory, "haproxy.cfg"), example.replace(serverLine, `    server agent1 ${at} ${server}`));
  writeFileSync(join(directory, "spoe.cfg"), toPatient(readFileSync(join(examples, "spoe.cfg"), "utf8")));
  const haproxy = new HaproxyProcess({
    program: haproxyProgram(),
    configFile: join(directory, "haproxy.cfg"),
    variables: {
      RELAY_FRONTEND_PORT: String(frontend),
      RELAY_STATS_PORT: String(stats),
      RELAY_PRIMARY: `127.0.0.1:${primary}`,
      // Generous: these tests do not measure time, and a test machine may be slow.
      RELAY_PROCESSING_TIMEOUT: "5s",
      RELAY_BODY_WAIT: "5s",
      RELAY_LOG_LEVEL: "notice",
      ...faketimeVariables,
    },
    onOutput: () => {},
  });
  cleanups.push(() => haproxy.stop());
  const url = `http://127.0.0.1:${frontend}/api/v1/users`;
  const isUp = () =>
    fetch(`http://127.0.0.1:${stats}/`).then(
      ({ ok }) => ok,
      () => false,
    );
  await until(isUp);
  const send = async () => {
    const before = mirrored;
    const { status } = await fetch(url);
    return { status, mirrored: mirrored > before };
  };
  return { logged, listener, address: listening, send };
}

const reasons = ({ logged }: Pair) => logged.lines.map(({ reason }) => reason);

describe("HAProxy with `ssl verify required`", () => {
  const tls = () => ({ cert: agentFiles.cert, key: agentFiles.key });
  const verify = () => `ssl verify required ca-file ${authority.file}`;

  it("mirrors over TLS, and its health check passes", async () => {
    const pair = await startPair(verify(), { tls: tls() });

    expect(await pair.send()).toEqual({ status: 200, mirrored: true });
    await until(() => pair.listener.accepted >= 3);
    expect(await pair.send()).toEqual({ status: 200, mirrored: true });
    expect(pair.logged.lines).toEqual([]);
  });

  it("mirrors over mutual TLS", async () => {
    const pair = await startPair(`${verify()} crt ${haproxyFiles.both}`, {
      tls: { ...tls(), clientCa: authority.file },
    });

    expect(await pair.send()).toEqual({ status: 200, mirrored: true });
    expect(pair.logged.lines).toEqual([]);
  });

  it("serves its clients without mirroring if it lacks a required certificate", async () => {
    const pair = await startPair(verify(), { tls: { ...tls(), clientCa: authority.file } });

    expect(await pair.send()).toEqual({ status: 200, mirrored: false });
    await until(() => pair.logged.lines.length > 0);

    expect(reasons(pair)).toEqual([expect.stringContaining("add crt FILE to the server line in HAProxy")]);
  });

  it("does not mirror to an agent whose certificate it cannot verify", async () => {
    const other = new CertificateAuthority(directory, "other").issue("impostor");
    const pair = await startPair(verify(), { tls: { cert: other.cert, key: other.key } });

    expect(await pair.send()).toEqual({ status: 200, mirrored: false });
    await until(() => pair.logged.lines.length > 0);

    expect(reasons(pair)).toEqual([expect.stringContaining("check ca-file in the server line of HAProxy")]);
  });

  it("is reported by an agent that listens without TLS, with what to change", async () => {
    const pair = await startPair(verify(), {});

    expect(await pair.send()).toEqual({ status: 200, mirrored: false });
    await until(() => pair.logged.lines.length > 0);

    expect(reasons(pair)).toEqual([expect.stringContaining("remove ssl from the server line in HAProxy")]);
  });
});

describe("HAProxy without ssl", () => {
  it("is reported by an agent that listens with TLS, with what to change, in one log line", async () => {
    const pair = await startPair("", { tls: { cert: agentFiles.cert, key: agentFiles.key } });

    expect(await pair.send()).toEqual({ status: 200, mirrored: false });
    await until(() => pair.listener.accepted >= 3);

    expect(reasons(pair)).toEqual([expect.stringContaining("add ssl verify required ca-file FILE to the server line")]);
  });

  it("mirrors through a unix socket", async () => {
    const path = join(directory, "agent.sock");
    const pair = await startPair("", { socket: { mode: 0o660 } }, path);

    expect(await pair.send()).toEqual({ status: 200, mirrored: true });
    expect(pair.address).toBe(`unix:${path}`);
    expect(statSync(path).mode & 0o777).toBe(0o660);
    expect(pair.logged.lines).toEqual([]);
  });

  it.each<[string, boolean]>([
    ["127.0.0.0/8", true],
    ["10.0.0.0/8", false],
  ])("is checked against the allow list %s: allowed %s", async (range, isAllowed) => {
    const allow = [range].map(parseAddressRange).filter((parsed) => parsed !== undefined);
    const pair = await startPair("", { allow });

    expect(await pair.send()).toEqual({ status: 200, mirrored: isAllowed });
    await until(() => isAllowed || pair.logged.lines.length > 0);

    expect(pair.logged.events).toEqual(isAllowed ? [] : ["not-allowed"]);
  });
});

describe("the agent as a whole", () => {
  it("mirrors over mutual TLS to the shadow, before and after its certificate is renewed", async () => {
    const files = authority.issue("renewed");
    const rig = await Rig.start({
      targets: { staging: "rate: unlimited" },
      agent: `  tls: { cert: ${files.cert}, key: ${files.key}, clientCa: ${authority.file} }\n`,
      configure: (text) =>
        text.replace(
          serverLine,
          (line) => `${line} ssl verify required ca-file ${authority.file} crt ${haproxyFiles.both}`,
        ),
    });
    cleanups.push(() => rig.stop());
    const arrived = () => rig.shadows.staging.received.filter(({ path }) => path.startsWith("/api/v1/order")).length;

    await fetch(`${rig.frontend}/api/v1/order/1`);
    authority.issue("renewed");
    rig.agent?.kill("SIGHUP");
    await until(() => rig.output.includes("certificates reloaded"));
    await fetch(`${rig.frontend}/api/v1/order/2`);
    await until(() => arrived() === 2);

    expect(addsUp(await rig.settledLedger())).toBe(true);
    expect(rig.output).toContain('"subject":"CN=renewed"');
  });
});
