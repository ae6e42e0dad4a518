import { writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { hello, notify, str } from "../../support/spop/spop-frames.ts";
import type { Attack } from "../attack.ts";
import type { Ground } from "../ground.ts";

// Patterns that an operator may write, and the worst path that a client can send for each. HAProxy's buffer has 16 KiB.
const worst: readonly (readonly [pattern: string, path: string])[] = [
  ["^/api/(\\w+/?)*$", `/api/${"a".repeat(31)}!`],
  ["^/api/(\\w+/?)*$", `/api/${"a".repeat(14_000)}!`],
  ["(a|a)*b", "a".repeat(14_000)],
  ["(x+x+)+y", "x".repeat(14_000)],
  ["^/(.*a){20}$", `/${"a".repeat(14_000)}!`],
  ["[ab]*a[ab]{9}c", "aab".repeat(4_600)],
  ["[ab]*a[ab]{20}c", "aabbabaabb".repeat(1_400)],
  ["^(a?){500}a{500}$", `${"a".repeat(14_000)}!`],
  ["\\w+@\\w+\\.com", "a".repeat(14_000)],
];
const rounds = 15;
const patienceMs = 3_000;
const promisedMs = 5;

export const attack: Attack = {
  name: "worst-pattern",
  promise: "no path delays the ACKs of other connections by more than 5 ms, whatever the pattern",
  async run(ground) {
    let [longestMs, peakMiB] = [0, 0];
    const broken = new Set<string>();
    const refused = new Set<string>();
    for (const [pattern, path] of worst) {
      const { delayMs, memoryMiB } = await measure(ground, pattern, path);
      if (delayMs === undefined) refused.add(pattern);
      if (delayMs !== undefined && delayMs > promisedMs) broken.add(pattern);
      longestMs = Math.max(longestMs, delayMs ?? 0);
      peakMiB = Math.max(peakMiB, memoryMiB);
    }
    const seen = `${broken.size} patterns delay ACKs: ${[...broken].join(" ") || "none"}; ${refused.size} refused at start`;
    return { held: broken.size === 0, longestMs, peakMiB, seen };
  },
};

/** How long another connection waits for its ACK while a client sends the path; undefined if the agent refuses the pattern. */
async function measure(ground: Ground, pattern: string, path: string) {
  const [port, admin] = await ground.ports(2);
  const file = join(ground.directory, "spoa-relay.yaml");
  const when = JSON.stringify({ path: pattern });
  const target = `targets: { t: { url: "http://127.0.0.1:9", rate: 1/s } }`;
  writeFileSync(
    file,
    `agent: { listen: "127.0.0.1:${port}", admin: "127.0.0.1:${admin}", when: ${when} }\nqueue: embedded:./data\n${target}\n`,
  );
  const agent = ground.start(["agent", "--config", file]);
  const hostile = await connectTo(port, () => agent.ended);
  const other = hostile && (await connectTo(port, () => agent.ended));
  if (!hostile || !other) {
    if (!agent.output.includes("not a regular expression")) throw new Error(`the agent ended: ${agent.output}`);
    return { delayMs: undefined, memoryMiB: 0 };
  }
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    hostile.write(
      notify({
        streamId: round + 1,
        messages: [
          {
            args: [
              ["method", str("GET")],
              ["path", str(path)],
            ],
          },
        ],
      }),
    );
    // The hostile frame is answered before it is matched: now the agent is busy with it.
    await answerOf(hostile);
    const startMs = performance.now();
    other.write(notify({ streamId: round + 1, messages: [] }));
    const answered = await answerOf(other);
    times.push(performance.now() - startMs);
    if (!answered) break;
  }
  const memoryMiB = agent.peakMiB;
  for (const socket of [hostile, other]) socket.destroy();
  await agent.kill();
  // A quarter of the ACKs were faster: on a busy machine, the others also wait for their turn on a CPU.
  const delayMs = [...times].sort((a, b) => a - b)[times.length >> 2];
  return { delayMs, memoryMiB };
}

async function connectTo(port: number, ended: () => boolean): Promise<Socket | undefined> {
  while (!ended()) {
    const socket = connect(port, "127.0.0.1").on("error", () => {});
    socket.write(hello());
    if (await answerOf(socket)) return socket;
    socket.destroy();
    await sleep(50);
  }
  return undefined;
}

/** False if the socket closes or stays silent. */
function answerOf(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => done(false), patienceMs);
    const onData = () => done(true);
    const onClose = () => done(false);
    const done = (answered: boolean) => {
      clearTimeout(timer);
      socket.off("data", onData).off("close", onClose);
      resolve(answered);
    };
    socket.once("data", onData).once("close", onClose);
  });
}
