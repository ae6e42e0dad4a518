import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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
    expect(stdout).toContain(`Example: spoa-relay ${command}`);
    expect(code).toBe(0);
  });

  it.each(["agent", "host", "up", "config check", "stats", "targets list", "dlq list"])(
    "exits with 2 and names file, line and key of a mistake: %s",
    async (command) => {
      const { code, stderr } = await spoaRelay(...command.split(" "), "--config", invalid);
      expect(stderr).toContain(`${invalid}:5: targets.a.rate: "fast" is not a rate, such as 200/s`);
      expect(stderr).toContain(`${invalid}:6: targets.a: unknown key smaple; allowed here: url, rate, sample`);
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
      const number = /^shadow {2}(\d+)/m.exec(list)?.[1] as string;
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
      /^ingress {2}\d+ {2}3 requests from .*\ningress {2}\d+ {2}\? requests from .*no pack\n$/,
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

    expect(list.stdout.slice(-200)).toMatch(/\ningress {2}and 30 more\n$/);
    expect(stderr).toMatch(/^\d+ dead letters sent again \(\d+ requests\); \d+ left\n/);
    expect([code, stdout]).toEqual([0, "1,030 requests moved back to the queue of ingress\n"]);
    expect(host.ingress.deadLetters.depth().messages).toBe(0);
  }, 60_000);

  it("are not found under an unknown target or id", async () => {
    const host = await HostProcess.start({ targets: { a: "url: http://127.0.0.1:1, rate: 1/s" } });
    const list = await host.command("dlq", "list", "nobody");
    const show = await host.command("dlq", "show", "a", "4711");

    expect([list.code, list.stderr]).toEqual([1, "there is no queue nobody; dead letters are kept for: a, ingress\n"]);
    expect([show.code, show.stderr]).toEqual([1, "a has no dead letter 4711; spoa-relay dlq list a lists them\n"]);
  }, 30_000);
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
