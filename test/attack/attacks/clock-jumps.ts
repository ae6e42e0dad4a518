import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { writeClocklessQueue } from "../../support/data/clockless-queue.ts";
import { packMessage } from "../../support/data/packs.ts";
import { get, hello, notify } from "../../support/spop/spop-frames.ts";
import { SpopPeer } from "../../support/spop/spop-peer.ts";
import type { Attack } from "../attack.ts";
import type { AttackedProcess, Ground } from "../ground.ts";

const library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const each = 20;
// Retries follow after 4 s, or after 1, 2, 4 and 8 s, and an open breaker tries every 4 s by then.
const patienceMs = 12_000;

export const attack: Attack = {
  name: "clock-jumps",
  promise: "setting the clock deletes nothing and holds nothing back for more than seconds",
  async run(ground) {
    if (!existsSync(library)) throw new Error(`${library} is missing: install the package faketime`);
    const scene = await Scene.create(ground, "new");
    const lost: string[] = [];
    let longestMs = 0;
    const await_ = async (what: string, name: string, from = scene) => {
      const { missing, ms } = await from.arrived(name);
      longestMs = Math.max(longestMs, ms);
      if (missing > 0) lost.push(`${what}: ${missing} of ${each} missing`);
    };
    scene.setClock("-6d");
    const agent = await scene.start("agent", '"event":"listening"');
    await scene.send("early");
    await sleep(1_000);
    scene.setClock("+0");
    await scene.start("host", '"event":"replaying"');
    await scene.openShadow();
    await await_("sent under a clock 6 days behind", "early");
    scene.refuses = true;
    await scene.send("retried");
    await scene.failures("host");
    scene.setClock("-2h");
    scene.refuses = false;
    await await_("to be retried after 4 s, and set back by 2 h", "retried");
    await scene.closeShadow();
    await scene.send("waiting");
    await scene.failures("host");
    scene.setClock("+5d");
    await sleep(3_000);
    scene.setClock("+0");
    await scene.openShadow();
    await await_("waited while it was 5 days ahead", "waiting");
    await scene.closeShadow();
    const old = await Scene.create(ground, "old");
    old.writeOldQueue("old");
    old.setClock("+5d");
    await old.start("host", '"event":"replaying"');
    await old.openShadow();
    await await_("in a queue of an older version, first opened by a clock 5 days ahead", "old", old);
    await old.closeShadow();
    const peakMiB = agent.peakMiB;
    const told = agent.output.split('"event":"clock-set"').length - 1;
    const seen = `${lost.join("; ") || `all ${4 * each} requests arrived`}; the agent logged ${told} of 4 jumps`;
    return { held: lost.length === 0, peakMiB, longestMs, lost: 4 * each - scene.paths.size - old.paths.size, seen };
  },
};

/** An agent, a host and a shadow; the first two see the clock of a file. */
class Scene {
  readonly paths = new Set<string>();
  /** Whether the shadow asks for a retry in place of an answer. */
  refuses = false;
  readonly #ground: Ground;
  readonly #data: string;
  readonly #spop: number;
  readonly #shadowPort: number;
  readonly #clock: string;
  readonly #config: string;
  readonly #started = new Map<string, AttackedProcess>();
  #shadow: ReturnType<typeof createServer> | undefined;
  #failuresSeen = 0;

  static async create(ground: Ground, name: string): Promise<Scene> {
    const directory = join(ground.directory, name);
    mkdirSync(join(directory, "data"), { recursive: true });
    return new Scene(ground, directory, await ground.ports(4));
  }

  private constructor(ground: Ground, directory: string, ports: readonly number[]) {
    const [spop, agentAdmin, hostAdmin, shadow] = ports;
    this.#ground = ground;
    this.#data = join(directory, "data");
    this.#spop = spop;
    this.#shadowPort = shadow;
    this.#clock = join(directory, "clock");
    this.#config = join(directory, "spoa-relay.yaml");
    writeFileSync(
      this.#config,
      `agent: { listen: "127.0.0.1:${spop}", admin: "127.0.0.1:${agentAdmin}" }
host: { admin: "127.0.0.1:${hostAdmin}" }
queue: embedded:./data
targets:
  t: { url: "http://127.0.0.1:${shadow}", rate: unlimited }
`,
    );
  }

  /** Takes effect within about a second. */
  setClock(to: string): void {
    writeFileSync(this.#clock, `${to}\n`);
  }

  /** Leaves requests in the queue as a version did whose clock was in 1970, and which has put half of them back into it. */
  writeOldQueue(name: string): void {
    const packs = Array.from({ length: each }, (_, i) => {
      const { body, pack } = packMessage({ sequence: i + 1, requests: [{ method: "GET", path: `/${name}/${i}` }] });
      const marks = i % 2 === 0 ? {} : { since: 60_000 };
      return { body: JSON.stringify({ ...JSON.parse(body), ...marks }), pack, enteredAtMs: 120_000 };
    });
    writeClocklessQueue(this.#data, packs, "ingress");
  }

  async start(command: string, ready: string): Promise<AttackedProcess> {
    const attacked = this.#ground.start([command, "--config", this.#config], {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: this.#clock,
      FAKETIME_CACHE_DURATION: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    });
    this.#started.set(command, attacked);
    for (let tries = 0; tries < 150 && !attacked.output.includes(ready); tries++) await sleep(100);
    if (!attacked.output.includes(ready)) throw new Error(`${command} does not start: ${attacked.output.slice(-300)}`);
    return attacked;
  }

  async send(name: string): Promise<void> {
    const peer = new SpopPeer({ host: "127.0.0.1", port: this.#spop }).read();
    await peer.send(hello());
    await peer.frames(1);
    for (let i = 0; i < each; i++) await peer.send(notify({ streamId: i, messages: [get(`/${name}/${i}`)] }));
    await peer.frames(1 + each);
    peer.socket.destroy();
  }

  /** Resolves when requests were put back into the queue because the shadow is away. */
  async failures(command: string): Promise<void> {
    const count = () => this.#started.get(command)?.output.split('"event":"undelivered"').length ?? 0;
    for (let tries = 0; tries < 100 && count() <= this.#failuresSeen + 1; tries++) await sleep(50);
    this.#failuresSeen = count();
  }

  async openShadow(): Promise<void> {
    const shadow = createServer((request, response) => {
      if (this.refuses) {
        response.writeHead(429, { "retry-after": "4" }).end();
        return;
      }
      this.paths.add(request.url ?? "");
      response.end();
    });
    this.#shadow = shadow;
    await new Promise<void>((resolve) => shadow.listen(this.#shadowPort, "127.0.0.1", resolve));
    // The clock is read again after a second.
    await sleep(1_200);
  }

  async closeShadow(): Promise<void> {
    this.#shadow?.closeAllConnections();
    await new Promise((resolve) => this.#shadow?.close(resolve));
  }

  async arrived(name: string): Promise<{ readonly missing: number; readonly ms: number }> {
    const startMs = performance.now();
    const missing = () => each - [...this.paths].filter((path) => path.startsWith(`/${name}/`)).length;
    while (missing() > 0 && performance.now() - startMs < patienceMs) await sleep(50);
    return { missing: missing(), ms: performance.now() - startMs };
  }
}
