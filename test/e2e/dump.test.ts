import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { until } from "../support/clocks/until.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { bin, headersBinary, hello, notify, str } from "../support/spop/spop-frames.ts";
import { SpopPeer } from "../support/spop/spop-peer.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Running {
  readonly directory: string;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly peer: () => SpopPeer;
  /** SIGTERM; resolves with the exit code. */
  readonly stop: () => Promise<number | null>;
  readonly closeStdout: () => void;
  readonly ended: Promise<unknown[]>;
}

/** Starts the agent with these arguments before `--config`. */
async function startAgent(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Running> {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-dump-"));
  const [port, admin] = await freePorts(2);
  const file = join(directory, "spoa-relay.yaml");
  writeFileSync(
    file,
    `agent: { listen: "127.0.0.1:${port}", admin: "127.0.0.1:${admin}", drain: 100ms }
queue: embedded:./data
targets: { none: { url: "http://127.0.0.1:1", rate: 1/s } }
`,
  );
  const [program, ...rest] = args;
  const root = resolve(import.meta.dirname, "../..");
  const child = spawn(process.execPath, [join(root, program), ...rest, "--config", file], {
    env: { ...process.env, ...env },
  });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
    });
  }
  // Closed, not only ended: by then its last output has been read.
  const ended = once(child, "close");
  cleanups.push(async () => {
    child.kill("SIGKILL");
    await ended;
    rmSync(directory, { recursive: true });
  });
  await until(() => (output.stdout + output.stderr).includes('"listening"'));
  return {
    directory,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    peer: () => {
      const peer = new SpopPeer({ port, host: "127.0.0.1" }).read();
      cleanups.push(() => peer.socket.destroy());
      return peer;
    },
    stop: async () => {
      child.kill("SIGTERM");
      return (await ended)[0] as number | null;
    },
    closeStdout: () => child.stdout.destroy(),
    ended,
  };
}

const order = notify({
  streamId: 5,
  frameId: 2,
  messages: [
    {
      args: [
        ["id", str("order-1")],
        ["method", str("POST")],
        ["pathq", str("/api/v1/orders?dry=1")],
        [
          "hdrs",
          bin(headersBinary(["host", "shop.example", "authorization", "Bearer s3cret", "cookie", "sid=s3cret"])),
        ],
        ["body", bin('{"item":"tea"}')],
      ],
    },
  ],
});

describe.each([
  ["relay/main.ts", ["relay/main.ts", "agent", "--dump"]],
  ["agent/main.ts", ["agent/main.ts", "--dump"]],
])("--dump of %s", (_program, args) => {
  it("prints requests without credentials, logs to standard error and opens no queue", async () => {
    const agent = await startAgent(args);
    const peer = agent.peer();

    await peer.send(hello(), order);
    expect((await peer.frames(2)).map(({ type }) => type)).toEqual(["hello", "ack"]);
    await until(() => agent.stdout() !== "");
    const code = await agent.stop();

    expect(agent.stdout()).toMatch(
      /^# order-1 captured 20\S+\nPOST \/api\/v1\/orders\?dry=1 HTTP\/1\.1\nhost: shop\.example\nauthorization: …\ncookie: …\n\n\{"item":"tea"\}\n\n$/,
    );
    const events = agent.stderr().trim().split("\n");
    expect(JSON.parse(events.at(-1) ?? "")).toMatchObject({ event: "stopped", seen: 1, enqueued: 1, pending: 0 });
    expect(readdirSync(agent.directory)).toEqual(["spoa-relay.yaml"]);
    expect(code).toBe(0);
  });

  it("ends when its output is closed", async () => {
    const agent = await startAgent(args);

    agent.closeStdout();
    await agent.peer().send(hello(), order);

    expect((await agent.ended)[0]).toBe(0);
  });
});

describe("NODE_DEBUG=spop", () => {
  it("prints the frames of both directions on standard error, without credentials", async () => {
    const agent = await startAgent(["agent/main.ts", "--dump"], { NODE_DEBUG: "spop" });
    const peer = agent.peer();

    await peer.send(hello());
    await peer.frames(1);
    await peer.send(order.subarray(0, 50));
    await peer.send(order.subarray(50));
    await peer.frames(2);
    await agent.stop();

    const frames = agent.stderr().match(/(?<=^SPOP \d+: 127\.0\.0\.1:\d+ ).*$/gm) ?? [];
    expect(frames).toEqual([
      expect.stringMatching(/^→ HAPROXY-HELLO stream=0 frame=0 FIN \d+ B supported-versions="2\.0" /),
      expect.stringMatching(/^← AGENT-HELLO stream=0 frame=0 FIN \d+ B version="2\.0" /),
      expect.stringMatching(/^→ NOTIFY stream=5 frame=2 FIN \d+ B mirror: id="order-1" .*cookie: …\] body=<14 B>$/),
      "← ACK stream=5 frame=2 FIN 12 B",
      expect.stringMatching(/^← AGENT-DISCONNECT /),
    ]);
    expect(agent.stderr()).not.toContain("s3cret");
  });

  it("prints no frames if it is not set", async () => {
    const agent = await startAgent(["agent/main.ts", "--dump"]);

    const peer = agent.peer();
    await peer.send(hello(), order);
    await peer.frames(2);
    await agent.stop();

    expect(agent.stderr()).not.toContain("NOTIFY");
  });
});
