import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { HostStats } from "../../relay/stats/host-stats.ts";
import { until } from "../support/clocks/until.ts";
import { packMessage, requests } from "../support/data/packs.ts";
import { spoaRelay } from "../support/processes/command-line.ts";
import { HostProcess } from "../support/processes/host-process.ts";
import { Rig } from "../support/processes/rig.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

let directory: string;
let valid: string;
let invalid: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-cli-"));
  valid = join(directory, "valid.yaml");
  invalid = join(directory, "invalid.yaml");
  writeFileSync(
    valid,
    `host: { admin: "127.0.0.1:1" }\nqueue: embedded:./data\ntargets: { a: { url: http://127.0.0.1:1, rate: 1/s, sample: 0% } }\n`,
  );
  writeFileSync(
    invalid,
    "queue: embedded:./data\ntargets:\n  a:\n    url: http://127.0.0.1:1\n    rate: fast\n    smaple: 5%\n",
  );
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("every command", () => {
  it.each([
    "agent",
    "host",
    "up",
    "mirror",
    "config check",
    "config schema",
    "demo",
    "stats",
    "targets list",
    "targets set",
    "targets pause",
    "targets resume",
    "dlq list",
    "dlq show",
    "dlq redrive",
  ])("has help with an example: %s", async (command) => {
    const { code, stdout } = await spoaRelay(...command.split(" "), "--help");
    expect(stdout).toContain(`Usage: spoa-relay ${command}`);
    expect(stdout).toMatch(new RegExp(`Examples?:\\s+spoa-relay ${command}`));
    expect(code).toBe(0);
  });

  it.each(["agent", "host", "up", "config check", "stats", "targets list", "dlq list"])(
    "exits with 2 and names file, line and key of a mistake: %s",
    async (command) => {
      const { code, stderr } = await spoaRelay(...command.split(" "), "--config", invalid);
      expect(stderr).toContain(`${invalid}:5: targets.a.rate: "fast" is not a rate, such as 200/s`);
      expect(stderr).toContain(
        `${invalid}:6: targets.a: unknown key smaple; allowed here: url, protocol, rate, sample`,
      );
      expect(code).toBe(2);
    },
  );
});

describe("the command line", () => {
  it("exits with 2 if a command or a flag does not exist or is wrong", async () => {
    expect((await spoaRelay("bogus")).code).toBe(2);
    expect((await spoaRelay("up", "--bogus")).code).toBe(2);
    expect((await spoaRelay("mirror", "-r0")).stderr).toContain("--mirror-url");
    expect((await spoaRelay("mirror", "-u", "ftp://x")).code).toBe(2);
    expect((await spoaRelay("mirror", "-u", "http://h", "-a", "no host")).stderr).toContain("such as 127.0.0.1 or ::1");
  });

  it.each([
    ["http://user:secret@127.0.0.1:1", "cannot hold a user or a password"],
    ["http://127.0.0.1:1/base?x=1", "no query and no fragment"],
  ])("refuses a shadow whose URL it could use only in part: %s", async (url, mistake) => {
    const { code, stderr } = await spoaRelay("mirror", "-u", url, "--data", directory);
    expect(stderr).toContain(mistake);
    expect(code).toBe(2);
  });

  it.each([
    [
      ["-n", "4"],
      "-n or --num-workers: set agent.workers in a configuration file and run spoa-relay up; one worker is enough for most\n",
    ],
    [
      ["--debug"],
      "-d or --debug: set log: debug in a configuration file and run spoa-relay up, or run spoa-relay agent --dump\n",
    ],
    [["-D"], "-D or --daemonize: run it as a service"],
    [["-m"], "-m or --max-frame-size: set agent.maxFrame in a configuration file and run spoa-relay up"],
  ])("says what replaces the flag of spoa-mirror %j", async (flags, advice) => {
    const { code, stderr } = await spoaRelay("mirror", "-r0", "-u", "http://127.0.0.1:1", ...flags);
    expect(stderr).toContain(`error: spoa-relay mirror has no ${advice}`);
    expect(code).toBe(2);
  });

  it.each([
    ["mirror", "-u", "http://user:hunter2@127.0.0.1:1"],
    ["mirror", "-u", "http://user:hunter2/x y@127.0.0.1:1"],
    ["export", "a", "--format", "har", "--target", "http://user:hunter2 x@127.0.0.1:1/a"],
  ])("does not repeat the password of a URL in a mistake: %s %s %s", async (...command) => {
    const { code, stdout, stderr } = await spoaRelay(...command);
    expect(stderr).toMatch(/argument 'http:\/\/…@127\.0\.0\.1:1(?:\/a)?' is invalid/);
    expect(stdout + stderr).not.toContain("hunter2");
    expect(code).toBe(2);
  });

  it("prints its version", async () => {
    expect(await spoaRelay("--version")).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });

  it("warns of a sample of 0%", async () => {
    const { code, stdout } = await spoaRelay("config", "check", "--config", valid);
    expect(stdout).toContain("targets.a.sample is 0%: this target receives no requests");
    expect(code).toBe(0);
  });

  it("prints a JSON Schema with every section", async () => {
    const { stdout } = await spoaRelay("config", "schema");
    const schema = JSON.parse(stdout) as { properties: Record<string, unknown>; additionalProperties: boolean };
    expect(Object.keys(schema.properties)).toEqual(
      expect.arrayContaining(["agent", "host", "queue", "targets", "log"]),
    );
    expect(schema.additionalProperties).toBe(false);
  });

  it.each(["stats", "targets list", "targets pause a", "dlq list", "dlq redrive a"])(
    "says which host does not answer, and how to start it: %s",
    async (command) => {
      const { code, stdout, stderr } = await spoaRelay(...command.split(" "), "--config", valid);
      expect(stderr).toBe(`no host answers on 127.0.0.1:1; start it: spoa-relay host --config ${valid}\n`);
      expect([code, stdout]).toEqual([1, ""]);
    },
  );
});

describe("dead letters", () => {
  it("are listed, shown without credentials, and sent again at the target's rate", async () => {
    const rig = await Rig.start({ targets: { shadow: "rate: 50/s, attempts: 1" } });
    try {
      const { shadow } = rig.shadows;
      await shadow.stop();
      const pool = new Pool(rig.frontend);
      for (let i = 0; i < 12; i++) {
        const headers = { cookie: "session=secret", "x-number": String(i) };
        const request = { method: "POST", path: `/api/v1/dead/${i}`, headers, body: `body ${i}` } as const;
        await (await pool.request(request)).body.dump();
      }
      await pool.close();
      const { stdout: dead } = await ledgerWith(rig, "dead-lettered 12");
      expect(dead).not.toContain("✗");

      const { stdout: list } = await spoaRelay("dlq", "list", "shadow", "--config", rig.configFile);
      expect(list).toContain("ECONNREFUSED");
      const number = /^shadow +(\d+)/m.exec(list)?.[1] as string;
      const { stdout: shown } = await spoaRelay("dlq", "show", "shadow", number, "--config", rig.configFile);
      expect(shown).toContain("POST /api/v1/dead/0 HTTP/1.1");
      expect(shown).toContain("body 0");
      expect(shown).not.toContain("secret");

      await shadow.start();
      const { code, stdout } = await spoaRelay("dlq", "redrive", "shadow", "--config", rig.configFile);
      expect(stdout).toContain("12 requests moved back to the queue of shadow");
      expect(code).toBe(0);
      await until(() => shadow.received.length === 12);
      const { stdout: done } = await ledgerWith(rig, "answered 12 (2xx 12)");
      expect(done).toContain("dead-lettered 0");
      expect(done).not.toContain("✗");
      expect((await spoaRelay("dlq", "list", "--config", rig.configFile)).stdout).toBe("no dead letters\n");
    } finally {
      await rig.stop();
    }
  }, 40_000);
});

describe("dead letters of the ingress queue", () => {
  it("are listed with the others and moved back to the fan-out; those that cannot be decoded stay", async () => {
    const shadow = await ShadowServer.start();
    const host = await HostProcess.start({ targets: { a: `url: "${shadow.url.origin}", rate: unlimited` } });
    const { deadLetters } = host.ingress;
    const good = packMessage({ requests: requests(3) });
    await deadLetters.send([good, { body: '{"reason":"no pack"}', pack: Buffer.from("garbage"), requests: 2 }]);
    const list = await host.command("dlq", "list");
    const [number] = (await deadLetters.browse(1)).map(({ messageId }) => messageId);
    const shown = await host.command("dlq", "show", "ingress", number);
    const { code, stdout, stderr } = await host.command("dlq", "redrive", "ingress");
    await shadow.arrived(3);

    expect(list.stdout).toMatch(
      /^target +message +requests +first captured at +reason\ningress +\d+ +3 +\d{4}-.*\ningress +\d+ +\? +\? +no pack\n$/,
    );
    expect(shown.stdout).toContain("/2 HTTP/1.1");
    expect(stdout).toContain("3 requests moved back to the queue of ingress");
    expect(stderr).toContain(
      "not moved: 1 dead letter that cannot be decoded; spoa-relay dlq list ingress has the reasons\n",
    );
    expect(code).toBe(1);
    expect(deadLetters.depth()).toEqual({ messages: 1, requests: 2 });
  }, 40_000);

  it("are redriven in any number, and the command prints its progress", async () => {
    const host = await HostProcess.start({ targets: { a: "url: http://127.0.0.1:1, rate: 1/h" } });
    const packs = Array.from({ length: 1_030 }, (_, sequence) => packMessage({ sequence, requests: requests(1) }));
    await host.ingress.deadLetters.send(packs);
    const list = await host.command("dlq", "list", "ingress");
    const { code, stdout, stderr } = await host.command("dlq", "redrive", "ingress");

    expect(list.stdout.slice(-200)).toMatch(/\ningress has 30 more dead letters\n$/);
    expect(stderr).toMatch(/^\d+ dead letters sent again \(\d+ requests\); \d+ left\n/);
    expect([code, stdout]).toEqual([0, "1,030 requests moved back to the queue of ingress\n"]);
    expect(host.ingress.deadLetters.depth().messages).toBe(0);
  }, 60_000);

  it("are not found under an unknown target or id", async () => {
    const host = await HostProcess.start({ targets: { a: "url: http://127.0.0.1:1, rate: 1/s" } });
    const list = await host.command("dlq", "list", "nobody");
    const show = await host.command("dlq", "show", "a", "4711");
    const redrive = await host.command("dlq", "redrive", "nobody");
    const pause = await host.command("targets", "pause", "nobody");
    const set = await host.command("targets", "set", "nobody", "--rate", "1/s");

    expect([list.code, redrive.code, pause.code, set.code]).toEqual([2, 2, 2, 2]);
    expect([list.code, list.stderr]).toEqual([2, "there is no queue nobody; dead letters are kept for: a, ingress\n"]);
    expect(pause.stderr).toBe("there is no target nobody; the configuration has: a\n");
    expect([show.code, show.stderr]).toEqual([2, "a has no dead letter 4711; spoa-relay dlq list a lists them\n"]);
  }, 30_000);
});

describe("a target that is renamed", () => {
  it("leaves its requests in sight, and they can be sent to the new one", async () => {
    const { shadow, host } = await renamed();
    const stats = await host.command("stats");
    const json = JSON.parse((await host.command("stats", "--json")).stdout);
    const list = await host.command("dlq", "list", "old");
    const redriven = await host.command("dlq", "redrive", "old", "--to", "renamed");
    await shadow.arrived(20);
    await until(async () => (await host.command("stats")).code === 0);
    const after = await host.command("stats");

    expect(host.output).toMatch(
      /"level":"warn".*"event":"target-removed","target":"old".*dlq redrive old --to renamed/,
    );
    expect(stats.stdout).toMatch(/target old\n {2}enqueued 20 = .* waiting 20\n {2}! adds up, but needs you\n/);
    expect([stats.code, json.addsUp, json.warnings.length]).toEqual([1, true, 1]);
    expect(list.stdout).toMatch(/\nold +\d+ +20 +\S+ +waits; its target is no longer in the configuration\n$/);
    expect([redriven.code, redriven.stdout]).toEqual([0, "20 requests moved to the queue of renamed\n"]);
    expect(after.stdout).toMatch(/target renamed\n {2}enqueued 20 = .* answered 20 \(2xx 20\)/);
    expect(after.stdout).not.toContain("target old");
    expect(new Set(shadow.paths).size).toBe(20);
  }, 120_000);

  it("has requests that are discarded only if that is confirmed", async () => {
    const { host } = await renamed();
    const unasked = await host.command("dlq", "discard", "old");
    const nowhere = await host.command("dlq", "redrive", "old");
    const discarded = await host.command("dlq", "discard", "old", "--yes");
    const after = await host.command("stats");

    expect([unasked.code, unasked.stderr]).toEqual([2, expect.stringContaining("confirm it with --yes")]);
    expect([nowhere.code, nowhere.stderr]).toEqual([
      2,
      "--to: old is no longer in the configuration: name a target to send to, of renamed\n",
    ]);
    expect([discarded.code, discarded.stdout]).toEqual([0, "20 requests of old discarded\n"]);
    expect([after.code, after.stdout]).toEqual([0, expect.not.stringContaining("target old")]);
  }, 120_000);

  async function renamed() {
    const shadow = await ShadowServer.start();
    const keys = `url: "${shadow.url.origin}", rate: unlimited`;
    const host = await HostProcess.start({ targets: { old: `${keys}, blackout: 00:00-24:00 UTC` } });
    await host.ingress.send([packMessage({ requests: requests(20) })]);
    const stats = async () => (await (await host.fetch("/stats")).json()) as HostStats;
    await until(async () => (await stats()).targets.old.inQueue === 20);
    await host.restart({ targets: { renamed: keys } });
    return { shadow, host };
  }
});

/** The ledger as `stats` prints it, once it contains `text`. */
async function ledgerWith(rig: Rig, text: string): Promise<{ stdout: string }> {
  let stdout = "";
  await until(async () => {
    ({ stdout } = await spoaRelay("stats", "--config", rig.configFile));
    return stdout.includes(text);
  });
  return { stdout };
}
