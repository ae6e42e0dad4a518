import { once } from "node:events";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "undici";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { loadConfig } from "../../relay/config/load.ts";
import { HaproxyProcess } from "../../relay/demo/haproxy-process.ts";
import type { Received } from "../../relay/demo/json-server.ts";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { until } from "../support/clocks/until.ts";
import { CertificateAuthority } from "../support/data/certificates.ts";
import { blocksOf, readDocuments, root } from "../support/data/documents.ts";
import { run, spoaRelay } from "../support/processes/command-line.ts";
import { withRules } from "../support/processes/haproxy-lines.ts";
import { haproxyProgram, Rig, toPatient } from "../support/processes/rig.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { caFile } from "../support/servers/shadow-server.ts";
import { sendUpload, type Upload } from "../support/servers/upload.ts";

// Runs the examples of all documents: each ```diff block on a copy of the example configuration, with the real HAProxy, and
// each ```yaml block through `config check`.

const examples = join(root, "agent/haproxy");

interface Exchange {
  readonly method?: string;
  readonly path: string;
  readonly cookie?: string;
  readonly bodyBytes?: number;
}

/** The requests that reach the shadows: `whole` receives only complete bodies, `all` also truncated ones. */
interface Arrived {
  readonly whole: readonly Received[];
  readonly all: readonly Received[];
}

interface Case {
  readonly send: readonly (Exchange | Upload)[];
  /** Rules at the end of the example's front end; what the block adds there comes after them. */
  readonly rules?: readonly string[];
  readonly expect: (arrived: Arrived) => void;
}

const anywhere: readonly Exchange[] = [
  { path: "/" },
  { path: "/api/v1" },
  { path: "/api/v3/a?b=c" },
  { method: "POST", path: "/other", bodyBytes: 100 },
  { method: "DELETE", path: "/other/1", cookie: "session=1" },
];
const rules = [
  "http-request deny if { path_beg /api/v1/denied/ }",
  "http-request replace-path ^/public/(.*) /api/v1/\\1",
];
const pathsBefore: readonly Exchange[] = ["/api/v1/a", "/api/v1/denied/b", "/public/c"].map((path) => ({ path }));
const statuses: readonly Exchange[] = [200, 302, 404, 500, 503].map((status) => ({ path: `/api/v1/${status}` }));
const sessions = Array.from({ length: 300 }, (_, i) => `session=user-${i}`);

/** By name: the text after the second @@ of the block. */
const cases: Readonly<Record<string, Case>> = {
  everything: {
    send: anywhere,
    expect: ({ whole }) => expect(pathsOf(whole)).toEqual(anywhere.map(({ path }) => path).sort()),
  },
  "a tenth, at random": {
    send: Array.from({ length: 1_000 }, (_, i) => ({ path: `/${i}/` })),
    // The standard deviation is about 10.
    expect: ({ whole }) => {
      expect(whole.length).toBeGreaterThan(50);
      expect(whole.length).toBeLessThan(150);
    },
  },
  "a tenth of the sessions": {
    send: [...sessions, ...sessions, undefined].map((cookie) => ({ path: "/", ...(cookie && { cookie }) })),
    expect: ({ whole }) => {
      const mirrored = Map.groupBy(whole, ({ headers }) => headers.cookie);
      expect(mirrored.has(undefined)).toBe(false);
      expect(new Set([...mirrored.values()].map((requests) => requests.length))).toEqual(new Set([2]));
      expect(mirrored.size).toBeGreaterThan(15);
      expect(mirrored.size).toBeLessThan(45);
    },
  },
  nothing: {
    send: anywhere,
    expect: ({ all }) => expect(all).toEqual([]),
  },
  "headers only": {
    send: [{ path: "/api/v1/none" }, { method: "POST", path: "/api/v1/some", bodyBytes: 100 }],
    expect: ({ whole, all }) => {
      expect(pathsOf(whole)).toEqual(["/api/v1/none"]);
      expect(pathsOf(all)).toEqual(["/api/v1/none", "/api/v1/some"]);
      expect(all.map(({ body }) => body.length)).toEqual([0, 0]);
    },
  },
  "no bodies above 10,000 bytes": {
    send: sized(0, 10_000, 10_001, 100_000),
    expect: ({ all }) => expect(lengthsOf(all)).toEqual([0, 10_000]),
  },
  "the first 1,000 bytes of a body": {
    send: sized(0, 1_000, 1_001, 100_000),
    expect: ({ whole, all }) => {
      expect(lengthsOf(whole)).toEqual([0, 1_000]);
      expect(lengthsOf(all)).toEqual([0, 1_000, 1_000, 1_000]);
    },
  },
  "bodies of 100 kB": {
    send: sized(100_000),
    expect: ({ whole }) => expect(lengthsOf(whole)).toEqual([100_000]),
  },
  "everything, on the response": {
    send: statuses,
    expect: ({ whole }) => expect(pathsOf(whole)).toEqual(statuses.map(({ path }) => path)),
  },
  "what the primary has answered with 5xx": {
    send: statuses,
    expect: ({ whole }) => expect(pathsOf(whole)).toEqual(["/api/v1/500", "/api/v1/503"]),
  },
  "with the method that a rule sets": {
    send: [
      { method: "POST", path: "/api/v1/search" },
      { method: "POST", path: "/api/v1/other" },
    ],
    expect: ({ whole }) =>
      expect(whole.map(({ method, path }) => `${method} ${path}`).sort()).toEqual([
        "GET /api/v1/search",
        "POST /api/v1/other",
      ]),
  },
  "before the rules": {
    send: pathsBefore,
    rules,
    expect: ({ whole }) => expect(pathsOf(whole)).toEqual(["/api/v1/a", "/api/v1/denied/b"]),
  },
  "by a rule": {
    send: pathsBefore,
    rules,
    expect: ({ whole }) => expect(pathsOf(whole)).toEqual(["/api/v1/a", "/api/v1/c"].sort()),
  },
  "do not wait for streams": {
    send: [slowUpload("/api/v1/events/1"), slowUpload("/api/v1/others/1")],
    expect: ({ whole, all }) => {
      expect(pathsOf(whole)).toEqual(["/api/v1/others/1"]);
      expect(pathsOf(all)).toEqual(["/api/v1/events/1", "/api/v1/others/1"]);
    },
  },
  "wait for bodies with a length": {
    send: [
      { ...slowUpload("/api/v1/asks", { "content-length": "10" }), expectsContinue: true },
      slowUpload("/api/v1/grpc", { "content-length": "10", "content-type": "application/grpc" }),
      slowUpload("/api/v1/stream", { "content-type": "application/grpc" }),
    ],
    expect: ({ whole }) => expect(pathsOf(whole)).toEqual(["/api/v1/asks", "/api/v1/grpc"]),
  },
  "two agents": {
    send: [{ path: "/api/v1/1" }, { path: "/api/v1/2" }],
    expect: ({ whole }) => expect(pathsOf(whole)).toEqual(["/api/v1/1", "/api/v1/2"]),
  },
};

const blocks = readDocuments().flatMap(({ file, text }) => blocksOf(text).map((block) => ({ ...block, file })));

interface Hunk {
  readonly file: string;
  readonly name: string;
  /** Complete lines. */
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** Variants of the example configuration. Each is a ```diff block: one or more `@@ FILE @@ NAME` headers and their lines. */
const variants = blocks
  .filter(({ language }) => language === "diff")
  .map(({ text }) => text.split(/^(?=@@ )/m).map(toHunk));

const configurations = blocks
  .filter(({ language }) => language === "yaml")
  .map(({ file, text }) => ({ text, title: `${file}: ${text.split("\n")[0]}` }));

let directory: string;
let primary: Server;
let rig: Rig;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-examples-"));
  primary = createServer(async (request, response) => {
    request.resume();
    await once(request, "end");
    response.writeHead(Number(/\/(\d{3})$/.exec(request.url ?? "")?.[1] ?? 200)).end();
  });
  await once(primary.listen(0, "127.0.0.1"), "listening");
  rig = await Rig.start({
    targets: { whole: "rate: unlimited", all: "rate: unlimited, truncated: send" },
    agent: "  pack: { linger: 20ms }",
  });
});

afterAll(async () => {
  primary?.close();
  primary?.closeAllConnections();
  await rig?.stop();
  rmSync(directory, { recursive: true, force: true });
});

describe("the changes to HAProxy's configuration in the documents", () => {
  it("each have a case here", () => {
    expect(variants.map(([{ name }]) => name).sort()).toEqual(Object.keys(cases).sort());
  });

  it.each(variants.map((hunks) => ({ hunks, name: hunks[0].name })))("mirror: $name", async ({ hunks, name }) => {
    const configFile = writeVariant(name, hunks);
    const [frontend, stats] = await freePorts(2);
    const check = await run(haproxyProgram(), "-c", "-f", configFile);
    expect(`${check.stdout}${check.stderr}`).not.toMatch(/WARNING|ALERT/);
    expect(check.code).toBe(0);

    const haproxy = new HaproxyProcess({
      program: haproxyProgram(),
      configFile,
      variables: {
        RELAY_FRONTEND_PORT: String(frontend),
        RELAY_STATS_PORT: String(stats),
        RELAY_PRIMARY: `127.0.0.1:${(primary.address() as AddressInfo).port}`,
        RELAY_AGENT: agentAddress(),
        RELAY_LOG_LEVEL: "notice",
        // Test machines are slow at times, and this test does not measure time.
        RELAY_PROCESSING_TIMEOUT: "5s",
        RELAY_BODY_WAIT: "5s",
      },
      onOutput: () => {},
    });
    const { whole, all } = rig.shadows;
    whole.received.length = 0;
    all.received.length = 0;
    try {
      await until(async () => (await fetch(`http://127.0.0.1:${stats}/`).catch(() => undefined))?.ok === true);
      await sendAll(`http://127.0.0.1:${frontend}`, cases[name].send);
    } finally {
      await haproxy.stop();
    }
    expect(addsUp(await rig.settledLedger())).toBe(true);
    cases[name].expect({ whole: whole.received, all: all.received });
  });
});

describe("the configurations in the documents", () => {
  it("are exactly these", () => {
    expect(configurations.map(({ title }) => title).sort()).toEqual([
      "README.md: agent:",
      "agent/README.md: # an agent that keeps what comes in while the queue is away, up to 4 GiB",
      "agent/README.md: # the same tenth of the sessions for both targets, and of that a part for each",
      "infra/README.md: # captured in eu-central-1, replayed in us-east-1",
      "relay/README.md: # credentials of each target's own, from the environment, a token endpoint, AWS and a program",
      "relay/README.md: # secrets that are masked before a request is stored",
      "relay/README.md: queue: embedded:./data",
    ]);
  });

  it.each(configurations)("are valid: $title", async ({ text }) => {
    const file = join(directory, "spoa-relay.yaml");
    // `config check` looks for the files and programs that a configuration names.
    const program = join(directory, "token");
    writeFileSync(program, "#!/bin/sh\n", { mode: 0o755 });
    writeFileSync(file, text.replaceAll("/usr/local/bin/token", program));
    copyFileSync(caFile, join(directory, "staging-ca.pem"));
    const authority = new CertificateAuthority(directory, "haproxy-ca");
    renameSync(authority.issue("agent").cert, join(directory, "agent.pem"));
    for (const name of ["STAGING_KEY", "STAGING_SECRET", "REDACT_KEY"]) vi.stubEnv(name, "a-secret-of-a-test");
    onTestFinished(() => void vi.unstubAllEnvs());
    const { code, stdout, stderr } = await spoaRelay("config", "check", "--config", file);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).not.toContain("warning");
  });
});

/** A body of 10 bytes with a pause in it. */
function slowUpload(path: string, headers: Upload["headers"] = {}): Upload {
  const five = Buffer.from("12345");
  return { over: "HTTP/1.1", method: "POST", path, headers, parts: [five, 300, five] };
}

function sized(...sizes: number[]): Exchange[] {
  return sizes.map((bodyBytes) => ({ method: "POST", path: `/api/v1/${bodyBytes}`, bodyBytes }));
}

function pathsOf(requests: readonly Received[]): string[] {
  return requests.map(({ path }) => path).sort();
}

function lengthsOf(requests: readonly Received[]): number[] {
  return requests.map(({ body }) => body.length).sort((a, b) => a - b);
}

function toHunk(text: string): Hunk {
  const [head, ...lines] = text.trimEnd().split("\n");
  const [, file, name] = /^@@ (\S+) @@ ?(.*)$/.exec(head) ?? [];
  const linesOf = (side: RegExp) => lines.filter((line) => side.test(line)).map((line) => line.slice(1));
  return { file, name, before: linesOf(/^[ -]/), after: linesOf(/^[ +]/) };
}

/** Writes the example with the variant's changes, and returns the configuration to run. */
function writeVariant(name: string, hunks: readonly Hunk[]): string {
  const place = join(directory, name.replaceAll(/\W/g, "-"));
  mkdirSync(place);
  const textOf = (file: string) => withRules(readFileSync(join(examples, file), "utf8"), cases[name].rules ?? []);
  const texts = new Map(readdirSync(examples).map((file) => [file, textOf(file)]));
  for (const { file, before, after } of hunks) {
    const parts = `${texts.get(file)}`.split(`\n${before.join("\n")}\n`);
    expect(parts.length, `${file} has once: ${before.join("\n")}`).toBe(2);
    texts.set(file, parts.join(["", ...after, ""].join("\n")));
  }
  for (const [file, text] of texts) {
    // The documents use example addresses; all are replaced with the address of the test's agent.
    writeFileSync(join(place, file), toPatient(text).replaceAll(/\b10\.0\.0\.\d+:12345\b/g, agentAddress()));
  }
  const onResponse = hunks.some(({ file }) => file.includes("-response"));
  return join(place, onResponse ? "haproxy-response.cfg" : "haproxy.cfg");
}

function agentAddress(): string {
  const { listen } = loadConfig(rig.configFile, {}).agent;
  return listen.kind === "tcp" ? `${listen.host}:${listen.port}` : listen.path;
}

async function sendAll(origin: string, exchanges: readonly (Exchange | Upload)[]): Promise<void> {
  const pool = new Pool(origin, { connections: 8 });
  const send = async ({ method = "GET", path, cookie, bodyBytes }: Exchange): Promise<void> => {
    const { body } = await pool.request({
      method: method as "GET",
      path,
      headers: cookie === undefined ? {} : { cookie },
      ...(bodyBytes !== undefined && { body: Buffer.alloc(bodyBytes, "x") }),
    });
    await body.dump();
  };
  const port = Number(new URL(origin).port);
  await Promise.all(exchanges.map((exchange) => ("over" in exchange ? sendUpload(exchange, port) : send(exchange))));
  await pool.close();
}
