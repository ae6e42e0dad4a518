import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Attack } from "../attack.ts";
import { AttackedRelay, wait } from "../relay.ts";

const requests = 3_000;
// SECURITY.md names 2 s; the rest is for a busy machine.
const erasedWithinMs = 5_000;
const markBytes = 16;

export const attack: Attack = {
  name: "residue",
  promise: "a delivered request is in no file of the queues",
  async run(ground) {
    const relay = await AttackedRelay.prepare(ground, { a: "unlimited", b: "unlimited" });
    await relay.start();
    // Random bytes: compression leaves them as they are.
    const bodies = Array.from({ length: requests }, () => randomBytes(1_000));
    await relay.mirror(bodies);
    const { arrived } = relay;
    const delivered = await wait(() => arrived.a >= requests && arrived.b >= requests, 60_000);
    await sleep(erasedWithinMs);
    const running = countLeft(relay.data, bodies);
    await relay.stop();
    const stopped = countLeft(relay.data, bodies);
    const seen = `delivered: ${arrived.a} and ${arrived.b}; in files ${erasedWithinMs / 1_000} s later: ${running}; after a clean stop: ${stopped}`;
    return { held: delivered && running === 0 && stopped === 0, peakMiB: relay.peakMiB, seen };
  },
};

/** The bodies of which a part is in a file: any of ten places in it. */
function countLeft(directory: string, bodies: readonly Buffer[]): number {
  const marks = new Map<number, { readonly body: number; readonly mark: Buffer }>();
  bodies.forEach((bytes, body) => {
    for (let at = 0; at + markBytes <= bytes.length; at += 100) {
      marks.set(bytes.readUInt32BE(at), { body, mark: bytes.subarray(at, at + markBytes) });
    }
  });
  const left = new Set<number>();
  for (const file of readdirSync(directory)) {
    const content = readFileSync(join(directory, file));
    for (let at = 0; at + markBytes <= content.length; at++) {
      const found = marks.get(content.readUInt32BE(at));
      if (found && content.compare(found.mark, 0, markBytes, at, at + markBytes) === 0) left.add(found.body);
    }
  }
  return left.size;
}
