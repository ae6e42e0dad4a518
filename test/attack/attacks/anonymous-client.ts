import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bin, headersBinary, hello, notify, str } from "../../support/spop/spop-frames.ts";
import type { Attack } from "../attack.ts";

const patienceMs = 20_000;

export const attack: Attack = {
  name: "anonymous-client",
  promise: "a client without credentials does not act with those of the relay",
  async run(ground) {
    const seen: { readonly path: string; readonly authorization: string | undefined }[] = [];
    const shadow = createServer(({ url = "", headers: { authorization } }, response) => {
      seen.push({ path: url, authorization });
      response.end();
    }).listen(0, "127.0.0.1");
    await once(shadow, "listening");
    const [listen, admin, hostAdmin] = await ground.ports(3);
    const file = join(ground.directory, "spoa-relay.yaml");
    const url = `http://127.0.0.1:${(shadow.address() as AddressInfo).port}`;
    const program = [process.execPath, "-e", "console.log('relay-token')"];
    writeFileSync(
      file,
      `agent: { listen: "127.0.0.1:${listen}", admin: "127.0.0.1:${admin}" }
host: { admin: "127.0.0.1:${hostAdmin}" }
queue: embedded:./data
targets:
  t: { url: "${url}", rate: unlimited, token: { command: ${JSON.stringify(program)} } }
`,
    );
    ground.start(["agent", "--config", file]);
    ground.start(["host", "--config", file]);
    try {
      await send(listen, [
        ["/with", ["authorization", "Bearer own"]],
        ["/without", ["accept", "*/*"]],
      ]);
      for (const endMs = performance.now() + patienceMs; seen.length < 2 && performance.now() < endMs; )
        await sleep(50);
    } finally {
      shadow.close();
    }
    const tokenOf = (path: string) => seen.find((request) => request.path === path)?.authorization ?? "no token";
    const arrived = seen.length === 2;
    const held = arrived && tokenOf("/without") === "no token" && tokenOf("/with") === "Bearer relay-token";
    const words = `without credentials: ${tokenOf("/without")}; with its own: ${tokenOf("/with")}`;
    return { held, lost: 2 - seen.length, seen: arrived ? words : `${seen.length} of 2 requests arrived` };
  },
};

/** Sends GET requests to an agent that may still be starting. */
async function send(port: number, requests: readonly (readonly [path: string, headers: string[]])[]): Promise<void> {
  for (const endMs = performance.now() + patienceMs; ; await sleep(100)) {
    const socket = connect(port, "127.0.0.1").resume();
    try {
      await once(socket, "connect");
      const args = requests.map(([path, headers]) => ({
        args: [
          ["method", str("GET")],
          ["path", str(path)],
          ["hdrs", bin(headersBinary(headers))],
        ] as [string, Buffer][],
      }));
      socket.write(Buffer.concat([hello(), notify({ messages: args })]));
      await once(socket, "data");
      await sleep(500);
      return;
    } catch (error) {
      if (performance.now() > endMs) throw error;
    } finally {
      socket.destroy();
    }
  }
}
