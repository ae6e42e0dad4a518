import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { Client } from "undici";
import { describe, expect, it, onTestFinished } from "vitest";
import { type RunningHost, startHost } from "../../../functions/host/host.ts";
import type { Config } from "../../../relay/config/config.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import type { OutgoingMessage } from "../../../relay/queue/port.ts";
import { type HostStats, readHostStats } from "../../../relay/stats/host-stats.ts";
import { addsUp, toEquations } from "../../../relay/stats/ledger-equations.ts";
import { openStores, type Stores } from "../../../relay/stores.ts";
import { until } from "../../support/clocks/until.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { packMessage, requests } from "../../support/data/packs.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";
import { type Answer, ShadowServer } from "../../support/servers/shadow-server.ts";

describe("host", () => {
  it("sends packs from the ingress queue to every shadow, and the ledger adds up", async () => {
    const [one, two] = [
      await ShadowServer.start(({ path }) => ({ status: path.endsWith("7") ? 500 : 200 })),
      await ShadowServer.start(),
    ];
    const bench = await HostBench.start({
      one: { shadow: one },
      two: { shadow: two, keys: "when: { path: '[02468]$' }" },
    });
    await bench.enqueue(
      ...[1, 2, 3].map((sequence) => packMessage({ agent: "edge~1", sequence, requests: requests(50) })),
    );
    const stats = await bench.statsOnceSettled();

    expect(one.received.length).toBe(150);
    expect(two.received.length).toBe(75);
    expect(new Set(one.received.map(({ headers }) => headers["x-mirror-id"])).size).toBe(150);
    expect(stats.targets.one).toMatchObject({ enqueued: 150, fates: { "answered.2xx": 135, "answered.5xx": 15 } });
    expect(stats.targets.two).toMatchObject({ enqueued: 150, fates: { "answered.2xx": 75, filtered: 75 } });
    expect(stats.agents).toEqual([{ agent: "edge~1", requests: 150, packs: 3, missingPacks: 0 }]);
    expect(addsUp(toEquations(undefined, stats))).toBe(true);
  });

  it("captures requests if there are captures and no targets", async () => {
    const bench = await HostBench.start({}, { more: "captures:\n  all: { store: ./kept }\n" });
    await bench.enqueue(packMessage({ requests: requests(50) }));
    const stats = await bench.statsOnceSettled();

    expect(stats.captures?.all).toMatchObject({ enqueued: 50, fates: { captured: 50 } });
    expect(addsUp(toEquations(undefined, stats))).toBe(true);
  });

  it("counts packs that are missing in an agent's sequence", async () => {
    const shadow = await ShadowServer.start();
    const bench = await HostBench.start({ one: { shadow } });
    await bench.enqueue(
      ...[1, 2, 5].map((sequence) => packMessage({ agent: "edge~1", sequence, requests: requests(1) })),
    );

    expect((await bench.statsOnceSettled()).agents).toMatchObject([{ packs: 3, missingPacks: 2 }]);
  });

  it("replays to one target while another is down, and accounts for the waiting requests", async () => {
    const [up, down] = [await ShadowServer.start(), await ShadowServer.start(() => "reset")];
    const bench = await HostBench.start({ up: { shadow: up }, down: { shadow: down, keys: "attempts: 100" } });
    await bench.enqueue(packMessage({ requests: requests(20) }));
    await down.arrived(20);
    let stats = await bench.stats();
    await until(async () => {
      stats = await bench.stats();
      // Requests may count twice for a moment: the retry pack is sent before the old pack is deleted.
      return stats.targets.up.fates["answered.2xx"] === 20 && stats.targets.down.inQueue === 20;
    });

    expect(stats.targets.down).toMatchObject({ enqueued: 20, fates: { "answered.2xx": 0 } });
    expect(addsUp(toEquations(undefined, stats))).toBe(true);
  });

  it("logs the outage of a shadow at once, and its end", async () => {
    const shadow = await ShadowServer.start();
    const { port } = shadow;
    const bench = await HostBench.start({ away: { shadow } });
    await shadow.close();
    await bench.enqueue(packMessage({ requests: requests(50) }));
    await until(() => bench.log.events.includes("breaker-open"));
    await shadow.listen(port);
    await until(() => bench.log.events.includes("breaker-closed"));
    const states = /^(?:shadow|breaker)-/;

    expect([...new Set(bench.log.events.filter((event) => states.test(String(event))))]).toEqual([
      "shadow-failing",
      "breaker-open",
      "breaker-half-open",
      "shadow-answers",
      "breaker-closed",
    ]);
    expect(bench.log.lines.find(({ event }) => event === "shadow-failing")?.reason).toContain("ECONNREFUSED");
  });

  it("logs that another process pauses and resumes a target that has no requests", async () => {
    const shadow = await ShadowServer.start();
    const bench = await HostBench.start({ one: { shadow } });
    const write = (settings: object) =>
      bench.withStores(async ({ state: { controls } }) => {
        const { version } = await controls.read("one");
        await controls.write("one", { settings }, version);
      });
    await write({ paused: true });
    await until(() => bench.log.events.includes("target-held"));
    await write({});
    await until(() => bench.log.events.includes("target-released"));

    expect(bench.log.lines).toContainEqual(expect.objectContaining({ target: "one", reason: "paused" }));
  });

  it("has a ledger that does not add up after somebody else deletes a message", async () => {
    const shadow = await ShadowServer.start(() => "reset");
    const bench = await HostBench.start({ down: { shadow, keys: "attempts: 100" } });
    await bench.enqueue(packMessage({ requests: requests(20) }));
    await shadow.arrived(20);
    await bench.host.stop();
    const before = toEquations(undefined, await bench.readStores());
    await bench.withStores(async ({ queueOf }) => {
      const down = queueOf("down");
      // Several messages if some requests were retried by then.
      await until(async () => {
        const signal = new AbortController().signal;
        const deliveries = await down.queue.receive({ max: 10, waitMs: 0, visibilityMs: 1_000, signal });
        await down.queue.delete(deliveries.map(({ receipt }) => receipt));
        return (await down.backlog()).messages === 0;
      });
    });
    const after = toEquations(undefined, await bench.readStores());

    expect(before).toMatchObject([{ title: "target down", unaccounted: 0 }]);
    expect(after).toMatchObject([{ title: "target down", unaccounted: 20 }]);
  });

  it("moves undecodable packs to the dead letters of the ingress queue, and counts them", async () => {
    const shadow = await ShadowServer.start();
    const bench = await HostBench.start({ one: { shadow } });
    const good = packMessage({ requests: requests(2) });
    await bench.enqueue({ ...good, pack: Buffer.from("garbage") }, good);
    await shadow.arrived(2);
    await until(async () => (await bench.stats()).ingress.deadLettered === 2);

    expect(shadow.received.length).toBe(2);
  });

  it("finishes the requests in flight when it stops, and sends the rest after a restart", async () => {
    let answer: (answer: Answer) => void = () => {};
    const gate = new Promise<Answer>((resolve) => {
      answer = resolve;
    });
    const shadow = await ShadowServer.start(() => gate);
    const bench = await HostBench.start({ one: { shadow, keys: "concurrency: 3" } });
    await bench.enqueue(packMessage({ requests: requests(10) }));
    await shadow.arrived(3);
    const stopped = bench.host.stop();
    answer({ status: 200 });
    const code = await stopped;
    const between = await bench.readStores();
    await bench.restart();
    const after = await bench.statsOnceSettled();

    expect(code).toBe(0);
    expect(between.targets.one).toMatchObject({ inQueue: 7, fates: { "answered.2xx": 3 } });
    expect(after.targets.one.fates["answered.2xx"]).toBe(10);
    expect([...shadow.paths].sort()).toEqual(Array.from({ length: 10 }, (_, i) => `/${i}`));
  });

  it("stops even if a shadow never answers, and hands back requests that may be repeated", async () => {
    const shadow = await ShadowServer.start(() => "hang");
    const bench = await HostBench.start({ one: { shadow, keys: "timeout: 15m\n    attempts: 1" } }, { stopMs: 100 });
    const mixed = requests(4).map((parts, i) => ({ ...parts, method: i === 1 ? "POST" : "GET" }));
    await bench.enqueue(packMessage({ requests: mixed }), packMessage({ sequence: 2, requests: requests(1) }));
    await shadow.arrived(5);
    const code = await bench.host.stop();
    const between = await bench.readStores();
    shadow.behaviour = () => ({ status: 200 });
    await bench.restart();
    await until(async () => (await bench.stats()).targets.one.inQueue === 0);
    const { targets } = await bench.stats();

    expect(code).toBe(0);
    expect(between.targets.one).toMatchObject({ inQueue: 4, inDeadLetters: 1 });
    expect(targets.one).toMatchObject({ inDeadLetters: 1, fates: { "answered.2xx": 4 } });
    expect(bench.log.lines.find(({ event }) => event === "dead-letter")?.reason).toBe(
      "no answer before the host stopped; POST is not retried, because the shadow may have acted on it",
    );
  });

  it("does not exceed a target's rate", async () => {
    const shadow = await ShadowServer.start();
    const bench = await HostBench.start({ one: { shadow, rate: "100/s" } });
    const startMs = performance.now();
    await bench.enqueue(packMessage({ requests: requests(51) }));
    await shadow.arrived(51);

    // 50 intervals of 10 ms; a slot may be 50 ms late.
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(450);
  });

  it("serves the same figures as Prometheus metrics", async () => {
    const shadow = await ShadowServer.start();
    const bench = await HostBench.start({ one: { shadow } });
    await bench.enqueue(packMessage({ agent: "edge~1", sequence: 2, requests: requests(3) }));
    await bench.statsOnceSettled();
    const metrics = await bench.get("/metrics");

    expect(metrics).toContain('spoa_relay_target_enqueued_requests_total{target="one"} 3');
    expect(metrics).toContain('spoa_relay_target_requests_total{target="one",fate="answered",class="2xx"} 3');
    expect(metrics).toContain('spoa_relay_missing_packs{agent="edge"} 1');
    expect(await bench.get("/readyz")).toBe("ready\n");
    expect(await bench.get("/healthz")).toBe("ok\n");
    expect(await bench.get("/nothing")).toContain("/openapi.json");
  });

  it("takes over the socket of a host that was killed, but not of one that runs", async () => {
    const shadow = await ShadowServer.start();
    const directory = temporaryDirectory();
    const path = join(directory, "left.sock");
    const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    spawnSync(process.execPath, ["-e", script]);
    const bench = await HostBench.start({ one: { shadow } }, { admin: `unix:${path}` });

    await expect(HostBench.start({ one: { shadow } }, { admin: `unix:${path}` })).rejects.toThrow("EADDRINUSE");
    await bench.host.stop();
  });

  it("names host.admin if its admin address is taken", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => {
      taken.close();
    });
    await new Promise((resolve) => taken.once("listening", resolve));
    const { port } = taken.address() as { port: number };
    const shadow = await ShadowServer.start();

    await expect(HostBench.start({ one: { shadow } }, { admin: `127.0.0.1:${port}` })).rejects.toThrow(
      /EADDRINUSE.*set host\.admin to another address/,
    );
  });
});

describe("host: a shadow in trouble", () => {
  it("receives fewer requests while it answers 429 with Retry-After, and the whole rate again later", async () => {
    let refusing = true;
    const shadow = await ShadowServer.start(() =>
      refusing ? { status: 429, headers: { "retry-after": "0" } } : { status: 200 },
    );
    const bench = await HostBench.start({ one: { shadow, rate: "500/s", keys: "attempts: 100" } });
    await bench.enqueue(packMessage({ requests: requests(300) }));
    const slowed = await bench.statsUntil(({ one }) => one.live.paceFactor < 0.3);
    refusing = false;
    const recovering = await bench.statsUntil(({ one }) => one.live.paceFactor > slowed.targets.one.live.paceFactor);
    const settled = await bench.statsOnceSettled();

    expect(slowed.targets.one).toMatchObject({ live: { ratePerSecond: 500 }, control: { slowdown: {} } });
    expect(slowed.targets.one.held).toBeUndefined();
    expect(recovering.targets.one.live.paceFactor).toBeLessThan(1);
    expect(settled.targets.one.fates).toMatchObject({ "answered.2xx": 300, deadLettered: 0 });
  });

  it("opens its breaker, receives single probes, and closes it again", async () => {
    let failing = true;
    const shadow = await ShadowServer.start(() => (failing ? "reset" : { status: 200 }));
    const keys = "attempts: 100\n    concurrency: 4\n    breaker: { failures: 5, probeAfter: 300ms }";
    const bench = await HostBench.start({ one: { shadow, keys } });
    await bench.enqueue(packMessage({ requests: requests(100) }));
    // Resets alone say that the shadow is away only after five seconds without an answer.
    await bench.statsUntil(({ one }) => one.control.breaker !== undefined);
    const before = shadow.received.length;
    const open = await bench.statsUntil(({ one }) => (one.control.breaker?.probes ?? 0) >= 3);
    const { length } = shadow.received;
    failing = false;
    const settled = await bench.statsOnceSettled();

    expect(open.targets.one.held).toMatch(/^the breaker has been open since /);
    // The requests in flight when it opened, and the probes, of which one may not be counted yet.
    const { probes = 0 } = open.targets.one.control.breaker ?? {};
    expect(length - before).toBeLessThanOrEqual(4 + 4 + probes + 1);
    expect(settled.targets.one.held).toBeUndefined();
    expect(settled.targets.one.fates).toMatchObject({ "answered.2xx": 100, deadLettered: 0 });
  });

  it("receives nothing during a blackout, and the stats say why", async () => {
    const shadow = await ShadowServer.start();
    const other = await ShadowServer.start();
    const bench = await HostBench.start({
      night: { shadow, keys: "blackout: 00:00-24:00 UTC" },
      always: { shadow: other },
    });
    await bench.enqueue(packMessage({ requests: requests(10) }));
    await other.arrived(10);
    const { targets } = await bench.statsUntil(({ night }) => night.inQueue === 10);
    await bench.host.stop();

    expect(targets.night.held).toBe("blackout 00:00-24:00 UTC");
    expect(shadow.received).toEqual([]);
    expect((await bench.readStores()).targets.night).toMatchObject({ inQueue: 10, inDeadLetters: 0 });
  });
});

interface BenchTarget {
  readonly shadow: ShadowServer;
  readonly rate?: string;
  /** Further keys of the target, as a line of YAML. */
  readonly keys?: string;
}

/** A host in this process. Its data and its admin socket are in a directory that is removed after the test. */
class HostBench {
  readonly log = new LogLines();
  readonly #config: Config;
  readonly #socket: string;
  host: RunningHost;

  static async start(
    targets: Readonly<Record<string, BenchTarget>>,
    { admin, stopMs, more = "" }: { readonly admin?: string; readonly stopMs?: number; readonly more?: string } = {},
  ): Promise<HostBench> {
    const directory = temporaryDirectory();
    const file = join(directory, "spoa-relay.yaml");
    const socket = join(directory, "admin.sock");
    const lines = Object.entries(targets).map(
      ([name, { shadow, rate = "unlimited", keys = "" }]) =>
        `  ${name}:\n    url: ${shadow.url.origin}\n    rate: ${rate}\n    ${keys}\n`,
    );
    const section = lines.length > 0 ? `targets:\n${lines.join("")}` : "";
    writeFileSync(file, `queue: embedded:./data\nhost: { admin: "${admin ?? `unix:${socket}`}" }\n${section}${more}`);
    const config = loadConfig(file, {});
    const log = new LogLines();
    const bench = new HostBench(config, socket, log, await startHost(config, log.log, stopMs));
    onTestFinished(async () => {
      await bench.host.stop();
    });
    return bench;
  }

  private constructor(config: Config, socket: string, log: LogLines, host: RunningHost) {
    this.#config = config;
    this.#socket = socket;
    this.log = log;
    this.host = host;
  }

  async restart(): Promise<void> {
    this.host = await startHost(this.#config, this.log.log);
  }

  async enqueue(...messages: readonly OutgoingMessage[]): Promise<void> {
    await this.withStores(async ({ ingress }) => {
      await ingress.queue.send(messages);
    });
  }

  /** Reads the stores directly, without the host. */
  async readStores(): Promise<HostStats> {
    let stats: HostStats | undefined;
    await this.withStores(async (stores) => {
      stats = await readHostStats(stores, this.#config.targets);
    });
    return stats as HostStats;
  }

  async withStores(work: (stores: Stores) => Promise<void>): Promise<void> {
    const stores = await openStores(this.#config);
    try {
      await work(stores);
    } finally {
      await stores.close();
    }
  }

  async stats(): Promise<HostStats> {
    return JSON.parse(await this.get("/stats"));
  }

  async statsUntil(holds: (targets: HostStats["targets"]) => boolean): Promise<HostStats> {
    let stats = await this.stats();
    await until(async () => {
      stats = await this.stats();
      return holds(stats.targets);
    });
    return stats;
  }

  /** Resolves with the stats once no request waits. */
  async statsOnceSettled(): Promise<HostStats> {
    let stats = await this.stats();
    await until(async () => {
      stats = await this.stats();
      const depths = Object.values(stats.targets).map(({ inQueue }) => inQueue);
      return stats.agents.length > 0 && stats.ingress.waiting === 0 && depths.every((depth) => depth === 0);
    });
    return stats;
  }

  async get(path: string): Promise<string> {
    const client = new Client("http://localhost", { socketPath: this.#socket });
    try {
      const { body } = await client.request({ method: "GET", path });
      return await body.text();
    } finally {
      await client.close();
    }
  }
}
