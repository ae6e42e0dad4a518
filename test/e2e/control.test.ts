import { once } from "node:events";
import { statSync, writeFileSync } from "node:fs";
import { createServer, type RequestOptions, request } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { until } from "../support/clocks/until.ts";
import { packMessage, requests } from "../support/data/packs.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";
import { spoaRelay } from "../support/processes/command-line.ts";
import { HostProcess } from "../support/processes/host-process.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

const token = "correct-horse-battery";

describe("a target that is changed while it runs", () => {
  it("receives requests at the new rate within about two seconds, and not above it", async () => {
    const { shadow, host } = await loaded("rate: 20/s", 2_000);
    await shadow.arrived(20);
    const { code, stdout } = await host.command("targets", "set", "staging", "--rate", "200/s");
    const fasterAtMs = performance.now();
    await until(() => perSecond(shadow.atMs) > 150);
    const fastAfterMs = performance.now() - fasterAtMs;
    await host.command("targets", "set", "staging", "--rate", "10/s");
    const slowFromMs = performance.now() + 2_000;
    await until(() => shadow.atMs.filter((atMs) => atMs > slowFromMs).length >= 40);

    expect([code, stdout]).toEqual([0, expect.stringMatching(/\nstaging +200\/s \(20\/s\) +64 +100% /)]);
    expect(fastAfterMs).toBeLessThan(2_000 + windowMs + stallMs);
    const slow = shadow.atMs.filter((atMs) => atMs > slowFromMs);
    // 39 intervals of 100 ms; the first requests may have taken longer to arrive than the others.
    expect(slow[39] - slow[0]).toBeGreaterThan(3_900 - stallMs);
  }, 60_000);

  it("can be paused and resumed without a loss", async () => {
    const { shadow, host } = await loaded("rate: 100/s", 600);
    await shadow.arrived(20);
    const paused = await host.command("targets", "pause", "staging");
    const atCommand = shadow.atMs.length;
    await until(() => performance.now() - (shadow.atMs.at(-1) ?? 0) > quietMs);
    const atPause = shadow.atMs.length;
    const listed = await host.command("targets", "list");
    const stillPaused = shadow.atMs.length;
    const resumed = await host.command("targets", "resume", "staging");
    await shadow.arrived(600);

    expect([paused.code, resumed.code]).toEqual([0, 0]);
    expect(paused.stdout).toMatch(/ paused\n$/);
    expect(listed.stdout).toMatch(/\nstaging +100\/s +64 +100% +\d+ +0 +paused\n$/);
    expect(resumed.stdout).toMatch(/ sends\n$/);
    expect(atPause - atCommand).toBeLessThan((100 * (2_000 + stallMs)) / 1_000);
    expect(stillPaused).toBe(atPause);
    expect(new Set(shadow.paths).size).toBe(600);
  }, 60_000);

  it("has its response times and its pause in stats", async () => {
    const { shadow, host } = await loaded("rate: unlimited", 50);
    await shadow.arrived(50);
    await host.command("targets", "set", "staging", "--concurrency", "3", "--sample", "50%");
    await host.command("targets", "pause", "staging");
    let stdout = "";
    await until(async () => {
      ({ stdout } = await host.command("stats"));
      return /^staging .* 50 \(/m.test(stdout);
    }, 20_000);

    expect(stdout).toMatch(
      /^target +rate +answered in 5 min +p50 \/ p99 +shadow time +network +age when sent +state$/m,
    );
    expect(stdout).toMatch(/^staging +unlimited +50 \([\d.]+\/s\)( +[\d.]+ \w+ \/ [\d.]+ \w+){4} +paused$/m);
    expect(stdout).toContain("answered 50 (2xx 50)");
    expect((await host.command("targets", "list")).stdout).toMatch(/\nstaging +unlimited +3 \(64\) +50% \(100%\) /);
  }, 60_000);
});

describe("targets set", () => {
  it("exits with 2 and names the flag if a value is wrong", async () => {
    const host = await HostProcess.start({ targets: { staging: "url: http://127.0.0.1:1, rate: 1/s" } });
    const mistakes: [flags: string[], text: string][] = [
      [["--rate", "fast"], `--rate: "fast" is not a rate, such as 200/s, 30/min, 10/h or unlimited\n`],
      [["--rate", "100"], `--rate: "100" has no unit: write 100/s, 100/min or 100/h\n`],
      [["--rate", "100rps"], `--rate: "100rps" is not a rate: write 100/s\n`],
      [["--concurrency", "many"], "--concurrency: must be a whole number, or configured\n"],
      [["--concurrency", "0"], "--concurrency: must be from 1 to 10000\n"],
      [["--sample", "half"], `--sample: "half" is not a percentage from 0% to 100%, such as 50% or 0.5%\n`],
      [["--rate", "1", "--sample", "half"], "has no unit: write 1/s, 1/min or 1/h\n--sample: "],
      [[], "error: name what to change: --rate, --concurrency or --sample\n"],
    ];
    for (const [flags, mistake] of mistakes) {
      const { code, stdout, stderr } = await host.command("targets", "set", "staging", ...flags);
      expect([code, stdout, stderr]).toEqual([2, "", expect.stringContaining(mistake)]);
    }
  }, 60_000);

  it("names the mistakes that are in no flag, too", async () => {
    const errors = [
      { place: "body.rate", detail: "is wrong, or null" },
      { place: "query.dry", detail: "is unknown" },
    ];
    const problem = {
      type: "about:blank",
      title: "Bad Request",
      status: 400,
      detail: "body.rate: …; query.dry: …",
      errors,
    };
    const host = createServer((_, response) => response.writeHead(400).end(JSON.stringify(problem))).listen(
      0,
      "127.0.0.1",
    );
    onTestFinished(() => void host.close());
    await once(host, "listening");
    const file = join(temporaryDirectory(), "spoa-relay.yaml");
    const { port } = host.address() as AddressInfo;
    writeFileSync(
      file,
      `host: { admin: "127.0.0.1:${port}" }\nqueue: embedded:./data\ntargets: { staging: { url: "http://127.0.0.1:1", rate: 1/s } }\n`,
    );
    const { code, stderr } = await spoaRelay("targets", "set", "staging", "--rate", "1/s", "--config", file);

    expect(stderr).toBe("--rate: is wrong, or configured\nquery.dry: is unknown\n");
    expect(code).toBe(2);
  }, 60_000);

  it("returns settings to the configured values", async () => {
    const host = await HostProcess.start({ targets: { staging: "url: http://127.0.0.1:1, rate: 1/s" } });
    await host.command("targets", "set", "staging", "--rate", "9/s", "--concurrency", "9", "--sample", "9%");
    const all = ["--rate", "configured", "--concurrency", "configured", "--sample", "configured"];
    const { stdout } = await host.command("targets", "set", "staging", ...all);

    expect(stdout).toMatch(/\nstaging +1\/s +64 +100% /);
  }, 30_000);

  it("names the existing targets if one does not exist", async () => {
    const host = await HostProcess.start({ targets: { staging: "url: http://127.0.0.1:1, rate: 1/s" } });
    const { code, stderr } = await host.command("targets", "pause", "nobody");

    expect([code, stderr]).toEqual([2, "there is no target nobody; the configuration has: staging\n"]);
  }, 30_000);
});

describe("the admin address of a host", () => {
  it("needs the token except for health checks, and the command line sends it", async () => {
    const host = await HostProcess.start({
      targets: { staging: "url: http://127.0.0.1:1, rate: 1/s" },
      host: `token: ${token}`,
    });
    const refused = await host.fetch("/v1/targets/staging/pause", { method: "POST" });
    const shown = await host.fetch("/stats", { headers: { authorization: `Bearer ${token}` } });

    expect([refused.status, refused.headers.get("www-authenticate")]).toEqual([401, 'Bearer realm="spoa-relay"']);
    expect(await refused.json()).toMatchObject({ title: "Unauthorized", status: 401 });
    expect([shown.status, (await host.fetch("/stats")).status, (await host.fetch("/readyz")).status]).toEqual([
      200, 401, 200,
    ]);
    expect((await host.command("targets", "list")).stdout).toMatch(/\nstaging +1\/s +64 +100% +0 +0 +sends\n$/);
  }, 30_000);

  it("creates a token for itself, without which nobody sees requests or changes anything", async () => {
    const targets = { staging: "url: http://127.0.0.1:1, rate: 1/s" };
    const host = await HostProcess.start({ targets });
    const { authorization } = host;
    const statuses = async (headers: Readonly<Record<string, string>>) => [
      (await host.fetch("/v1/targets/staging/pause", { method: "POST", headers })).status,
      (await host.fetch("/v1/queues/staging/dead-letters", { headers })).status,
    ];
    const figures = ["/stats", "/metrics", "/warnings", "/v1/targets", "/v1/ledger"];

    expect(await statuses({})).toEqual([401, 401]);
    expect((await host.command("targets", "list")).stdout).toMatch(/ sends\n$/);
    expect(await Promise.all(figures.map(async (path) => (await host.fetch(path)).status))).toEqual(
      figures.map(() => 200),
    );
    expect((await host.command("targets", "pause", "staging")).stdout).toMatch(/ paused\n$/);
    expect((await host.command("dlq", "list", "staging")).code).toBe(0);
    await host.restart({ targets });
    expect(await statuses({ authorization })).toEqual([200, 200]);
    expect(host.output).not.toContain(authorization.slice("Bearer ".length));
  }, 60_000);

  it("replays without a control API if others may read the token, and says so", async () => {
    const shadow = await ShadowServer.start();
    const file = join(temporaryDirectory(), "token");
    writeFileSync(file, "correct-horse-battery", { mode: 0o644 });
    const targets = { staging: `url: "${shadow.url.origin}", rate: unlimited` };
    const host = await HostProcess.start({ targets, host: `tokenFile: "${file}"` });
    await host.ingress.send([packMessage({ requests: requests(2) })]);
    await shadow.arrived(2);
    const { code, stderr } = await host.command("targets", "pause", "staging");

    expect(host.output).toContain('"event":"control-closed"');
    expect(host.output).toContain(`chmod o= ${file}`);
    expect([code, stderr]).toEqual([1, expect.stringContaining("the token is missing or wrong")]);
  }, 30_000);

  it("refuses web pages, by their origin and by the host name they use", async () => {
    const host = await HostProcess.start({ targets: { staging: "url: http://127.0.0.1:1, rate: 1/s" } });
    const pause = (headers: Readonly<Record<string, string>>) =>
      statusOf({ port: Number(host.admin.split(":")[1]), path: "/v1/targets/staging/pause", method: "POST", headers });

    const { authorization } = host;

    expect(await pause({ authorization, host: host.admin, origin: "http://evil.example" })).toBe(403);
    expect(await pause({ authorization, host: "evil.example" })).toBe(403);
    expect((await host.command("targets", "list")).stdout).toMatch(/ sends\n$/);
    expect(await pause({ authorization, host: host.admin })).toBe(200);
  }, 30_000);

  it("may be a unix socket", async () => {
    const host = await HostProcess.start({
      targets: { staging: "url: http://127.0.0.1:1, rate: 1/s" },
      admin: "unix:DIRECTORY/admin.sock",
    });
    const { code, stdout } = await host.command("targets", "pause", "staging");

    expect([code, stdout]).toEqual([0, expect.stringMatching(/ paused\n$/)]);
    expect(await statusOf({ socketPath: join(host.directory, "admin.sock"), path: "/openapi.json" })).toBe(200);
    expect(statSync(join(host.directory, "admin.sock")).mode & 0o007).toBe(0);
    expect((await host.command("stats")).stdout).toMatch(/^staging .* paused$/m);
  }, 30_000);
});

const windowMs = 300;
// The machine that runs the tests may stall for this long in total.
const stallMs = 1_500;
// Many times the interval of requests at 100/s.
const quietMs = 1_500;

/** Arrivals per second within the last `windowMs`. */
function perSecond(atMs: readonly number[]): number {
  const fromMs = performance.now() - windowMs;
  return (atMs.filter((at) => at > fromMs).length * 1_000) / windowMs;
}

/** A host with `count` requests for a shadow, which records when they arrive. */
async function loaded(keys: string, count: number) {
  const atMs: number[] = [];
  const shadow = await ShadowServer.start(() => {
    atMs.push(performance.now());
    return { status: 200 };
  });
  const host = await HostProcess.start({ targets: { staging: `url: "${shadow.url.origin}", ${keys}` } });
  await host.ingress.send([packMessage({ requests: requests(count) })]);
  return { host, shadow: Object.assign(shadow, { atMs }) };
}

function statusOf(options: RequestOptions): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", ...options }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.on("error", reject);
    asked.end();
  });
}
