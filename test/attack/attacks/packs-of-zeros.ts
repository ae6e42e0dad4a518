import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { requestDraft } from "../../support/data/captured-requests.ts";
import type { Attack } from "../attack.ts";

const packs = 24;
const targets = ["a", "b", "c"];
const bodyBytes = 59 * 1024 * 1024;
// A little less than the unit allows the host.
const mostMiB = 1_000;
// By then the memory is as full as it gets, even if the machine is too busy to send everything.
const lookMs = 40_000;

export const attack: Attack = {
  name: "packs-of-zeros",
  promise: "packs that are small, but large when decoded, do not fill the memory of the host",
  async run(ground) {
    let arrived = 0;
    const shadow = createServer((request, response) => {
      // Slowly enough that all packs in flight are in memory at the same time.
      request.resume().on("end", async () => {
        await sleep(500);
        arrived++;
        response.end();
      });
    }).listen(0, "127.0.0.1");
    await once(shadow, "listening");
    const url = `http://127.0.0.1:${(shadow.address() as AddressInfo).port}`;
    const [admin] = await ground.ports(1);
    const file = join(ground.directory, "spoa-relay.yaml");
    const lines = targets.map((name) => `  ${name}: { url: "${url}", rate: unlimited, timeout: 60s }`);
    const captures = "captures:\n  shop: { store: ./captures }";
    writeFileSync(
      file,
      `host: { admin: "127.0.0.1:${admin}" }\nqueue: embedded:./data\ntargets:\n${lines.join("\n")}\n${captures}\n`,
    );
    await fill(ground.tree, join(ground.directory, "data"));
    const host = ground.start(["host", "--config", file]);
    const wanted = packs * targets.length;
    try {
      for (const endMs = performance.now() + lookMs; arrived < wanted && !host.ended; await sleep(100)) {
        if (performance.now() > endMs) break;
      }
    } finally {
      shadow.closeAllConnections();
      shadow.close();
    }
    const { peakMiB } = host;
    const seen = `${arrived} of ${wanted} requests arrived so far${host.ended ? "; the host died" : ""}`;
    return { held: arrived > 0 && !host.ended && peakMiB < mostMiB, peakMiB, seen };
  },
};

/** Sends packs of one request, a body of zeros, as an agent of the attacked tree would. */
async function fill(tree: string, directory: string): Promise<void> {
  const load = (path: string) => import(join(tree, path));
  const { EmbeddedQueue } = await load("relay/queue/embedded.ts");
  const { PackWriter } = await load("relay/pack/writer.ts");
  const { sealPack } = await load("relay/pack/envelope.ts");
  mkdirSync(directory, { recursive: true });
  const queue = EmbeddedQueue.open({ directory, name: "ingress" });
  const now = new Date().toISOString();
  const draft = { ...requestDraft({ body: Buffer.alloc(bodyBytes), headers: [] }), capturedAtMs: Date.now() };
  for (let seq = 1; seq <= packs; seq++) {
    const id = Buffer.alloc(16, seq);
    const writer = new PackWriter(Buffer.from(new ArrayBuffer(bodyBytes + 65_536)), {
      id,
      agent: "x~1",
      sequence: seq,
    });
    writer.append(draft);
    const content = writer.finish();
    const summary = { v: 1, pack: id.toString("hex"), agent: "x~1", seq, count: 1, bytes: content.length };
    const body = JSON.stringify({ ...summary, first: now, last: now });
    await queue.send([{ body, pack: sealPack(content), requests: 1 }]);
  }
  queue.close();
}
