import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type FauxqsServer, startFauxqs } from "fauxqs";
import { Pool } from "undici";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { Received } from "../../relay/demo/json-server.ts";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { until } from "../support/clocks/until.ts";
import { seededRandom } from "../support/data/seeded-random.ts";
import { configFile } from "../support/lambda/lambda-config.ts";
import { run, spoaRelay } from "../support/processes/command-line.ts";
import { Rig, type RigOptions } from "../support/processes/rig.ts";
import { Gate } from "../support/servers/gate.ts";

/** A line of `captures cat --format json`. */
interface Line {
  readonly id: string;
  readonly capturedAt: string;
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body?: string;
  readonly bodyBase64?: string;
  readonly bodyState: string;
}

describe("a capture in a directory", () => {
  it("keeps every byte that a target receives, in `captures cat` and in a GoReplay export", async () => {
    const rig = await startRig({
      all: "store: ./captures",
      copy: "store: ./captures, when: { method: NONE }",
      api: "store: ./x, when: {path: ^/api/v1/even}",
    });
    await sendTraffic(rig, 300);
    const ledger = await rig.settledLedger();
    const lines = await cat(rig, "all");
    const file = join(rig.directory, "all.gor");
    const exported = await command(rig, "export", "all", "--format", "goreplay", "-o", file);
    const imported = await command(rig, "import", "copy", file);
    const again = await command(rig, "import", "copy", file);
    const copies = await cat(rig, "copy");
    const { captures = {} } = await rig.hostStats();

    expect(addsUp(ledger)).toBe(true);
    expect(ledger.map(({ title }) => title)).toContain("capture all");
    expect(captures.all).toMatchObject({ enqueued: 300, fates: { captured: 300 } });
    expect(captures.api).toMatchObject({ enqueued: 300, fates: { captured: 150, filtered: 150 } });
    expect(rig.shadows.shadow.received).toHaveLength(300);
    expect(lines.map(toBytes).sort()).toEqual(rig.shadows.shadow.received.map(toReceivedBytes).sort());
    expect(new Set(lines.map(({ id }) => id)).size).toBe(300);
    expect(lines.map(({ capturedAt }) => capturedAt)).toEqual(lines.map(({ capturedAt }) => capturedAt).sort());
    expect(exported).toMatchObject({ code: 0, stdout: "" });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect([imported.code, again.code]).toEqual([0, 0]);
    expect(imported.stdout).toContain("imported 300 requests into copy: 300 new, 0 already there\n");
    expect(again.stdout).toContain("imported 300 requests into copy: 0 new, 300 already there\n");
    expect(copies.map(toComparable)).toEqual(lines.map(toComparable));
  }, 90_000);

  it("hides credentials unless --secrets is given, and ends when its output pipe closes", async () => {
    const rig = await startRig({ all: "store: ./captures" });
    await sendTraffic(rig, 50);
    await rig.settledLedger();
    const hidden = await command(rig, "captures", "cat", "all");
    const shown = await command(rig, "captures", "cat", "all", "--secrets", "--limit", "1");
    const main = join(import.meta.dirname, "../../relay/main.ts");
    const all = `captures cat all --format json --config ${rig.configFile}`;
    const head = await run("bash", "-c", `${process.execPath} ${main} ${all} | head -n 1; echo "\${PIPESTATUS[0]}"`);
    const [some] = await cat(rig, "all", "--where", "path=even", "--where", "method=POST", "--limit", "1");

    expect(hidden.stdout).toContain("POST /api/v1/");
    expect(hidden.stdout).toContain("authorization: …");
    expect(hidden.stdout).not.toContain("secret-");
    expect(shown.stdout).toContain("authorization: Bearer secret-");
    expect(head.stdout.split("\n")).toEqual([expect.stringMatching(/^\{.*\}$/), "0", ""]);
    expect(some).toMatchObject({ method: "POST", path: expect.stringContaining("even") });
  }, 90_000);

  it("names a broken object and prints all other requests", async () => {
    const rig = await startRig({ all: "store: ./captures" });
    await sendTraffic(rig, 20);
    await rig.settledLedger();
    const directory = join(rig.directory, "captures/all");
    const before = objectsIn(directory);
    await sendTraffic(rig, 30);
    await rig.settledLedger();
    const [broken] = before;
    const bytes = readFileSync(broken);
    writeFileSync(broken, bytes.fill(0xff, bytes.length - 10));
    const { code, stdout, stderr } = await command(rig, "captures", "cat", "all", "--format", "json");
    const missing = Number(/~(\d+)~[0-9a-f]+\.packs/.exec(broken)?.[1]);

    expect(code).toBe(1);
    expect(stderr).toContain(`skipped ${broken.slice(join(rig.directory, "captures/").length)}, ${missing} requests`);
    expect(stderr).toContain(`1 part of the capture cannot be read: missing ${missing} requests`);
    expect(stdout.trim().split("\n")).toHaveLength(50 - missing);
  }, 90_000);

  it("keeps requests older than keep in the first hour of a host, and an import says that they will go", async () => {
    const rig = await startRig({ all: "store: ./captures, keep: 1h" });
    const log = join(rig.directory, "access.log");
    const line = (second: number) =>
      `192.0.2.1 - - [20/Nov/2026:10:00:0${second} +0000] "GET /${second} HTTP/1.1" 200 1 "-" "-"\n`;
    writeFileSync(log, `${line(1)}nonsense\n${line(2)}`);
    const old = await command(rig, "import", "all", log, "--base-time", "-3h");
    const recent = await command(rig, "import", "all", log, "--base-time", "-30m", "--skip-bad");
    const before = await cat(rig, "all");
    rig.hosts[0].kill("SIGTERM");
    await once(rig.hosts[0], "exit");
    await rig.startHost();
    const after = await cat(rig, "all");

    expect(old).toMatchObject({ code: 1, stdout: "imported 2 requests into all: 2 new, 0 already there\n" });
    expect(old.stderr).toContain("access.log: read as nginx; a log has only methods and paths");
    expect(old.stderr).toContain("access.log:2: the line is not in nginx's combined format\n");
    expect(old.stderr).toContain("warning: 2 requests older than captures.all.keep: the host will delete them");
    expect(recent).toMatchObject({ code: 0, stderr: expect.stringContaining("1 request could not be read") });
    expect(before).toHaveLength(4);
    expect(after).toEqual(before);
  }, 90_000);
});

describe("a capture in S3", () => {
  let emulator: FauxqsServer;
  let gate: Gate;

  beforeEach(async () => {
    emulator = await startFauxqs({ port: 0, logger: false });
    emulator.createBucket("kept");
    gate = new Gate(emulator.port);
    await gate.open();
    for (const [name, value] of Object.entries({
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
      AWS_REGION: "eu-central-1",
      AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${gate.port}`,
    })) {
      vi.stubEnv(name, value);
    }
  });

  afterEach(async () => {
    await gate?.shut();
    await emulator?.stop();
  });

  it("does not delay targets while S3 is away, and has every request once when S3 is back", async () => {
    const rig = await startRig({ all: "store: s3://kept/of/us" });
    await sendTraffic(rig, 50);
    await until(async () => (await rig.hostStats()).captures?.all.fates.captured === 50);
    await gate.shut();
    await sendTraffic(rig, 100);
    await until(() => rig.shadows.shadow.received.length === 150);
    await until(async () => (await rig.hostStats()).captures?.all.enqueued === 150);
    const { captures } = await rig.hostStats();
    // A message that waits for the capture is replaced by a new one before it is deleted: for a moment it is there
    // twice.
    await until(async () => (await rig.hostStats()).ingress.waiting === 100);
    const unreachable = await command(rig, "captures", "list");
    await gate.open();
    const ledger = await rig.settledLedger(90_000);
    const lines = await cat(rig, "all");
    const { stdout } = await command(rig, "captures", "list");

    expect(captures?.all.fates.captured).toBe(50);
    expect(unreachable).toMatchObject({ code: 1, stderr: expect.stringContaining("S3 does not answer") });
    expect(addsUp(ledger)).toBe(true);
    expect(lines.map(toBytes).sort()).toEqual(rig.shadows.shadow.received.map(toReceivedBytes).sort());
    expect(stdout).toMatch(/all +s3:\/\/kept\/of\/us\/all +2\S+Z +2\S+Z +150 /);
    expect(rig.output.split("\n").filter((line) => line.includes('"capture-away"'))).toHaveLength(1);
    expect(rig.output).toContain('"capture-back"');
  }, 150_000);
});

describe("the commands for captures", () => {
  it.each([
    [["captures", "cat", "nix"], "there is no capture nix; the configuration has: all"],
    [["captures", "cat", "all", "--from", "2026-11-20T18:00:00"], "It has no time zone"],
    [["captures", "show", "all", "--from", "-1h", "--to", "-2h"], "is before --from"],
    [["captures", "cat", "all", "--from", "2026-11-20T18:00:00Z", "--to", "2026-11-20T18:00Z"], ": the range is empty"],
    [["captures", "cat", "all", "--where", "body=x"], "It must be path=REGEX"],
    [["captures", "cat", "all", "--where", "path=("], "It is not a regular expression"],
    [["captures", "cat", "all", "--limit", "few"], "It must be a number of requests"],
    [["replay", "all", "--target", "x", "--at", "tomorrow"], ", +10m or now."],
    [["replay", "all", "--target", "x", "--rate", "100"], '"100" has no unit: write 100/s'],
    [["export", "all"], "required option '--format <format>' not specified"],
    [["export", "all", "--format", "pcap"], "Allowed choices are goreplay, har, k6, curl"],
    [["import", "all", "x", "--time-zone", "Mars"], "It must be a time zone"],
  ])("say what is wrong with %j", async (args, mistake) => {
    const { code, stderr } = await spoaRelay(...args, "--config", configOnly());

    expect(stderr).toContain(mistake);
    expect(code).toBe(2);
  });

  it("find nothing if nothing was captured, and create no directory", async () => {
    const file = configOnly();
    const { code, stdout } = await spoaRelay("captures", "list", "--config", file);

    expect(code).toBe(0);
    expect(stdout).toMatch(/\nall +\S+\/kept\/all +– +– +0 +0 +0\n$/);
    expect(existsSync(file.replace("spoa-relay.yaml", "kept"))).toBe(false);
  });
});

function configOnly(): string {
  return configFile(
    "queue: embedded:./data",
    'targets: { a: { url: "http://127.0.0.1:1", rate: 1/s } }',
    "captures: { all: { store: ./kept } }",
  );
}

async function startRig(captures: NonNullable<RigOptions["captures"]>): Promise<Rig> {
  const rig = await Rig.start({ targets: { shadow: "rate: unlimited, host: original" }, captures });
  onTestFinished(() => rig.stop());
  return rig;
}

const random = seededRandom(7);

/** Requests with bodies of any bytes, half of them to `/api/v1/even`. */
async function sendTraffic(rig: Rig, count: number): Promise<void> {
  const pool = new Pool(rig.frontend, { connections: 8 });
  await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const bytes = Buffer.from(Array.from({ length: Math.floor(random() * 2_000) }, () => Math.floor(random() * 256)));
      const method = i % 3 === 0 ? "GET" : "POST";
      const { body } = await pool.request({
        method,
        path: `/api/v1/${i % 2 === 0 ? "even" : "odd"}/${i}?q=%20%ff&t=${random()}`,
        headers: {
          authorization: `Bearer secret-${i}`,
          cookie: `a=${i}; b="x y"`,
          "x-tag": ["one", `tw\xf6 ${i}`],
          "x-empty": "",
        },
        ...(method === "POST" && { body: i % 5 === 0 ? `Grüße ${i}` : bytes }),
      });
      await body.dump();
    }),
  );
  await pool.close();
}

function command(rig: Rig, ...args: readonly string[]) {
  return spoaRelay(...args, "--config", rig.configFile);
}

async function cat(rig: Rig, capture: string, ...args: readonly string[]): Promise<readonly Line[]> {
  const { code, stdout, stderr } = await command(
    rig,
    "captures",
    "cat",
    capture,
    "--format",
    "json",
    "--secrets",
    ...args,
  );
  if (code !== 0) throw new Error(stderr);
  return stdout.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as Line]));
}

// Headers that each sender writes itself: HAProxy for its request, the relay for the mirrored one.
const notCompared = /^(?:x-mirror-|x-forwarded-|connection$|content-length$|transfer-encoding$|x-unique-id$|via$)/;

/** A captured request as one text: method, path, headers in order and body. */
function toBytes({ method, path, headers, body, bodyBase64 }: Line): string {
  return toText(method, path, headers, body === undefined ? Buffer.from(`${bodyBase64}`, "base64") : Buffer.from(body));
}

function toReceivedBytes({ method, path, rawHeaders, body }: Received): string {
  const headers = Array.from(
    { length: rawHeaders.length / 2 },
    (_, i) => [rawHeaders[2 * i], rawHeaders[2 * i + 1]] as const,
  );
  return toText(method, path, headers, body);
}

function toText(method: string, path: string, headers: readonly (readonly [string, string])[], body: Buffer): string {
  const compared = headers
    .map(([name, value]) => `${name.toLowerCase()}: ${value}`)
    .filter((header) => !notCompared.test(header.split(":")[0]));
  return [`${method} ${path}`, ...compared, body.toString("base64")].join("\n");
}

/** The parts of a line that a GoReplay file keeps. */
function toComparable({ id, capturedAt, bodyState, ...rest }: Line) {
  return [id, capturedAt, bodyState, toBytes(rest as Line)];
}

function objectsIn(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".packs"))
    .map((name) => join(directory, name));
}
