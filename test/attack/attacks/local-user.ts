import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bin, bool, get, hello, notify } from "../../support/spop/spop-frames.ts";
import { SpopPeer } from "../../support/spop/spop-peer.ts";
import { startAgentAndHost } from "../agent-and-host.ts";
import type { Attack } from "../attack.ts";
import type { Ground } from "../ground.ts";

const secret = "card-4111-1111-1111-1111";
// `nobody`: it owns nothing, and is in no group.
const otherUser = 65_534;

export const attack: Attack = {
  name: "local-user",
  promise: "another user of the machine sees no request and changes nothing",
  async run(ground) {
    const [shadow] = await ground.ports(1);
    const target = `url: "http://127.0.0.1:${shadow}", rate: 10/s, attempts: 1`;
    const { port, host, hostAdmin, configFile } = await startAgentAndHost(ground, target);
    const peer = new SpopPeer({ port, host: "127.0.0.1" }).read();
    await peer.send(hello());
    await peer.frames(1);
    const args = [...get("/orders").args, ["body", bin(secret)], ["whole", bool(true)]] as const;
    await peer.send(notify({ messages: [{ args }] }));
    await holds(() => host.output.includes('"dead-letter"'));
    peer.socket.destroy();

    const api = `http://127.0.0.1:${hostAdmin}`;
    const seen = await asOtherUser(ground, api, join(ground.directory, "data"));
    const list = ground.start(["targets", "list", "--config", configFile]);
    await list.exited();
    const changed = list.output.includes("77/s");
    const shown = seen.includes(secret);
    const health = await fetch(`${api}/healthz`).then(({ status }) => status);
    return {
      held: !shown && !changed && health === 200 && seen.includes("tried"),
      seen: `body ${shown ? "shown" : "not shown"}, rate ${changed ? "changed" : "not changed"}; ${seen.split("\n").at(-1)}`,
    };
  },
};

/** What another user reads: all routes, and all files of the data directory. Its last line says what it tried. */
async function asOtherUser(ground: Ground, api: string, data: string): Promise<string> {
  const program = `
const { readdirSync, readFileSync } = require("node:fs");
const read = async (path, init) => fetch(${JSON.stringify(api)} + path, init).then(async (r) => r.status + " " + (await r.text()));
(async () => {
  const paths = ["/stats", "/metrics", "/warnings", "/openapi.json", "/v1/ledger", "/v1/targets", "/v1/targets/t/figures?minutes=5"];
  const texts = await Promise.all(paths.map((path) => read(path)));
  const list = await read("/v1/queues/t/dead-letters");
  const letters = await Promise.all([1, 2, 3, 4].map((id) => read("/v1/queues/t/dead-letters/" + id)));
  const letter = letters.find((text) => text.startsWith("200")) ?? letters[0];
  const change = { method: "PATCH", headers: { "content-type": "application/json" }, body: '{"rate":"77/s"}' };
  const set = await read("/v1/targets/t", change);
  let files = "no file";
  try {
    for (const name of readdirSync(${JSON.stringify(data)})) texts.push(readFileSync(${JSON.stringify(`${data}/`)} + name, "latin1"));
    files = "files read";
  } catch (error) { files = error.code; }
  console.log(texts.join("\\n") + list + letter + set);
  process.stdout.write("tried: dead letter " + letter.slice(0, 3) + ", change " + set.slice(0, 3) + ", files " + files);
})();`;
  const args = [`--reuid=${otherUser}`, `--regid=${otherUser}`, "--clear-groups", process.execPath, "-e", program];
  const intruder = ground.own("setpriv", args, { cwd: "/" });
  await intruder.exited();
  return intruder.output;
}

async function holds(fact: () => boolean): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (fact()) return;
    await sleep(100);
  }
  throw new Error("agent and host did not come up, or the request did not become a dead letter");
}
