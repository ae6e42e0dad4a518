import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { AckClient } from "../support/servers/ack-client.ts";
import type { AttackedProcess, Ground } from "./ground.ts";

/** Agent and host of the attacked tree in one directory, and a shadow for each target that counts requests. */
export class AttackedRelay {
  /** Of the queues and the state. */
  readonly data: string;
  readonly arrived: Record<string, number> = {};
  readonly #ground: Ground;
  readonly #config: string;
  readonly #socket: string;
  #admin = 0;
  #process: AttackedProcess | undefined;

  /** @param targets a rate by name */
  static async prepare(ground: Ground, targets: Readonly<Record<string, string>>): Promise<AttackedRelay> {
    const relay = new AttackedRelay(ground);
    const lines = await Promise.all(
      Object.entries(targets).map(async ([name, rate]) => {
        relay.arrived[name] = 0;
        const shadow = createServer((request, response) => {
          relay.arrived[name]++;
          request.resume().on("end", () => response.end());
        });
        shadow.listen(0, "127.0.0.1").unref();
        await once(shadow, "listening");
        const { port } = shadow.address() as AddressInfo;
        return `  ${name}: { url: "http://127.0.0.1:${port}", rate: ${rate}, truncated: send }\n`;
      }),
    );
    const [agentAdmin, hostAdmin] = await ground.ports(2);
    relay.#admin = agentAdmin;
    writeFileSync(
      relay.#config,
      `agent: { listen: "unix:${relay.#socket}", admin: 127.0.0.1:${agentAdmin} }
host: { admin: 127.0.0.1:${hostAdmin} }
queue: embedded:./data
targets:
${lines.join("")}`,
    );
    return relay;
  }

  private constructor(ground: Ground) {
    this.#ground = ground;
    // Another one for each relay of an attack.
    const directory = mkdtempSync(join(ground.directory, "relay-"));
    this.data = join(directory, "data");
    this.#config = join(directory, "spoa-relay.yaml");
    this.#socket = join(directory, "spop.sock");
  }

  /** All that agent and host have printed since the last start. */
  get output(): string {
    return this.#process?.output ?? "";
  }

  get peakMiB(): number {
    return this.#process?.peakMiB ?? 0;
  }

  get ended(): boolean {
    return this.#process?.ended !== false;
  }

  /** @param command `up`, or `agent` or `host` alone */
  async start(command = "up"): Promise<void> {
    this.#process = this.#ground.start([command, "--config", this.#config]);
    const events = { up: ["listening", "replaying"], agent: ["listening"], host: ["replaying"] }[command] ?? [];
    const isUp = () => events.every((event) => this.output.includes(`"event":"${event}"`));
    await wait(() => isUp() || this.ended, 40_000);
  }

  async stop(): Promise<void> {
    this.#process?.terminate();
    await Promise.race([this.#process?.exited(), sleep(15_000)]);
    await this.#process?.kill();
  }

  /** Sends requests one after the other; resolves with the number of ACKs. */
  async mirror(bodies: readonly Uint8Array[]): Promise<number> {
    const client = await AckClient.connect(this.#socket);
    for (const [i, body] of bodies.entries()) await client.mirror(`/attacked/${i}`, body);
    client.close();
    return bodies.length;
  }

  /** What `spoa-relay stats` prints. */
  async stats(): Promise<string> {
    const stats = this.#ground.start(["stats", "--config", this.#config]);
    await Promise.race([stats.exited(), sleep(10_000)]);
    return stats.output;
  }

  /** The agent's answer to `GET /readyz`; undefined if there is none. */
  async ready(): Promise<string | undefined> {
    const signal = AbortSignal.timeout(2_000);
    return fetch(`http://127.0.0.1:${this.#admin}/readyz`, { signal }).then(
      (answer) => answer.text(),
      () => undefined,
    );
  }
}

/** Resolves with whether the fact came true in time. */
export async function wait(holds: () => boolean, withinMs: number): Promise<boolean> {
  for (const endMs = performance.now() + withinMs; !holds(); await sleep(50)) {
    if (performance.now() > endMs) return false;
  }
  return true;
}
