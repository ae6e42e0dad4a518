import { randomBytes } from "node:crypto";
import { closeSync, fstatSync, openSync, readdirSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Attack } from "../attack.ts";
import type { Ground } from "../ground.ts";
import { AttackedRelay, wait } from "../relay.ts";

const requests = 200;

interface Damage {
  readonly name: string;
  readonly file: string;
  readonly make: (path: string) => void;
}

const damages: readonly Damage[] = [
  {
    name: "a target's header is 0",
    file: "target-a.queue.db",
    make: (path) => overwrite(path, Buffer.alloc(16_384), 0),
  },
  {
    name: "a target's pages are random",
    file: "target-a.queue.db",
    make: (path) => overwrite(path, randomBytes(64 * 16_384), 16_384),
  },
  { name: "a target's file is cut", file: "target-a.queue.db", make: (path) => truncateSync(path, 20_000) },
  {
    name: "the ingress queue is random",
    file: "ingress.queue.db",
    make: (path) => overwrite(path, randomBytes(32_768), 0),
  },
];

export const attack: Attack = {
  name: "corrupt-files",
  promise: "a damaged file of one queue stops no other part",
  async run(ground) {
    const broken: string[] = [];
    let peakMiB = 0;
    for (const damage of damages) {
      const { mistakes, peakMiB: peak } = await survive(ground, damage);
      peakMiB = Math.max(peakMiB, peak);
      if (mistakes.length > 0) broken.push(`${damage.name}: ${mistakes.join(", ")}`);
    }
    const seen = broken.length === 0 ? `${damages.length} damaged files, none stopped anything` : broken.join("; ");
    return { held: broken.length === 0, peakMiB, seen };
  },
};

/** Damages a file between two runs; the second one has to do everything that does not need the lost content. */
async function survive(
  ground: Ground,
  { file, make }: Damage,
): Promise<{ readonly mistakes: readonly string[]; readonly peakMiB: number }> {
  const relay = await AttackedRelay.prepare(ground, { a: "1/h", b: "unlimited" });
  await relay.start();
  const bodies = Array.from({ length: requests }, () => randomBytes(1_000));
  await relay.mirror(bodies);
  await wait(() => relay.arrived.b === requests, 15_000);
  await relay.stop();
  make(join(relay.data, file));
  await relay.start();
  const acks = await relay.mirror(bodies).catch(() => 0);
  await wait(() => relay.arrived.b === 2 * requests || relay.ended, 15_000);
  const arrived = relay.arrived.b === 2 * requests;
  const mistakes = [
    ...(relay.ended ? ["the relay ended"] : []),
    ...(acks === requests ? [] : ["requests were not acknowledged"]),
    ...(arrived ? [] : [`the other target received ${relay.arrived.b - requests} of ${requests}`]),
    ...((await relay.ready()) === "ready\n" ? [] : ["the agent is not ready"]),
    ...(relay.output.includes('"level":"error"') && relay.output.includes(file) ? [] : ["no error names the file"]),
    ...(readdirSync(relay.data).some((name) => name.startsWith(`${file}.damaged-`)) ? [] : ["the file is not kept"]),
    ...((await relay.stats()).includes("unaccounted for") === file.startsWith("target") ? [] : ["the ledger is wrong"]),
  ];
  await relay.stop();
  return { mistakes, peakMiB: relay.peakMiB };
}

function overwrite(path: string, bytes: Buffer, at: number): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, Math.min(bytes.length, fstatSync(fd).size - at), at);
  closeSync(fd);
}
