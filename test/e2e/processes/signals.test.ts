import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { targetQueue } from "../../../relay/queue/names.ts";
import { until } from "../../support/clocks/until.ts";
import { packMessage, requests } from "../../support/data/packs.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";
import { processesWith, ServiceProcess } from "../../support/processes/service-process.ts";
import { freePorts } from "../../support/servers/free-ports.ts";

// `up` takes a part that ends within this time for one that cannot start.
const startMs = 2_000;

describe("spoa-relay up", () => {
  it("takes a second signal within a moment for the first one, and stops in order", async () => {
    const up = await startUp();
    // timeout(1) signals its child, and then the child's process group.
    up.service.child.kill("SIGTERM");
    up.service.child.kill("SIGTERM");
    await sleep(20);
    up.service.child.kill("SIGTERM");

    expect(await up.service.exited).toEqual({ code: 0, signal: null });
    expect(processesWith(up.file)).toEqual([]);
    expect(up.service.log.filter(({ event }) => event === "stopped").length).toBe(2);
  });

  it("ends agent and host at once at a second signal, and leaves no process", async () => {
    const up = await startUp();
    const { service } = up;
    await up.requestInFlight();
    service.child.kill("SIGTERM");
    await service.logged("draining");
    // Later than any moment: the host waits 8 s for the answer.
    await sleep(700);
    const secondAtMs = performance.now();
    service.child.kill("SIGTERM");

    expect(await service.exited).toEqual({ code: 1, signal: null });
    expect(performance.now() - secondAtMs).toBeLessThan(5_000);
    expect(processesWith(up.file)).toEqual([]);
    expect(service.log.map(({ event }) => event)).toContain("forced");
  });

  it("stops in order if its agent and host receive every signal, too", async () => {
    const up = await startUp();
    const { service, file } = up;
    await up.requestInFlight();
    // As systemd does, unless KillMode says otherwise.
    for (const pid of processesWith(file)) process.kill(pid, "SIGTERM");
    await service.logged("draining");
    await sleep(700);
    for (const pid of processesWith(`host\0--config\0${file}`)) process.kill(pid, "SIGTERM");

    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(service.log.map(({ event }) => event)).not.toContain("killed");
  });

  it("stops in order when its terminal is closed", async () => {
    const { service, file } = await startUp();
    service.child.kill("SIGHUP");

    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(processesWith(file)).toEqual([]);
  });

  it("leaves no process behind after kill -9", async () => {
    const { service, file } = await startUp();
    service.child.kill("SIGKILL");
    await service.exited;
    await until(() => processesWith(file).length === 0);
  });

  it("names the part and the signal that ended it, and says when it runs again", async () => {
    const { service, file } = await startUp();
    const [agent] = processesWith(`agent\0--config\0${file}`);
    await sleep(startMs);
    process.kill(agent, "SIGKILL");
    await service.logged("part-ended", "part-restarted");

    expect(service.log.find(({ event }) => event === "part-ended")).toMatchObject({
      level: "error",
      part: "agent",
      signal: "SIGKILL",
      reason: "was ended by SIGKILL",
    });
    expect(service.log.find(({ event }) => event === "part-restarted")).toMatchObject({ part: "agent", failures: 1 });
  });
});

describe("the demo", () => {
  it("leaves no process behind after kill -9", async () => {
    const [first] = await freePorts(8);
    const demo = new ServiceProcess(["demo", "--ports", `${first}`], {
      env: { ...process.env, TMPDIR: temporaryDirectory() },
    });
    await until(() => demo.output.includes("1  10 ×"));
    const directory = /queue in (\S+)\)/.exec(demo.output)?.[1] as string;
    const children = await childrenOf(demo.child.pid as number);
    demo.child.kill("SIGKILL");
    await demo.exited;

    expect(children.length).toBeGreaterThanOrEqual(2);
    await until(() => processesWith(directory).length === 0);
    await until(() => children.every((pid) => !isRunning(pid)));
  });
});

describe("an agent whose thread hangs", () => {
  it.each([1, 2])(
    "says so, and still ends within its time to stop, with an error (%i workers)",
    async (workers) => {
      const cwd = temporaryDirectory();
      const [port] = await freePorts(2);
      const journal = join(cwd, "journal");
      // Opening a named pipe that nobody reads never returns. Each worker has a journal of its own.
      for (const directory of [journal, join(journal, "worker-2")]) {
        mkdirSync(directory, { recursive: true });
        spawnSync("mkfifo", [join(directory, "journal-lock.holder.new")]);
      }
      const config = `agent: { listen: "127.0.0.1:${port}", admin: "127.0.0.1:${port + 1}", workers: ${workers}, journal: { directory: journal } }
queue: embedded:./data
targets: { shadow: { url: "http://127.0.0.1:1", rate: 1/s } }
`;
      writeFileSync(join(cwd, "spoa-relay.yaml"), config);
      const agent = new ServiceProcess(["agent", "--config", join(cwd, "spoa-relay.yaml")]);
      await agent.logged("listening", "shipper-hangs");
      agent.child.kill("SIGTERM");
      const { code } = await agent.exited;

      expect(code).toBe(1);
      expect(agent.log.find(({ event }) => event === "stop-overdue")).toMatchObject({
        level: "error",
        afterMs: workers === 1 ? 12_000 : 11_000,
      });
      expect(processesWith(cwd)).toEqual([]);
    },
    120_000,
  );
});

it("an agent whose queue cannot be created says so at once, and ends at SIGTERM", async () => {
  const cwd = temporaryDirectory();
  const [port] = await freePorts(2);
  const config = `agent: { listen: "127.0.0.1:${port}", admin: "127.0.0.1:${port + 1}" }
queue: embedded:/proc/spoa-relay/data
targets: { shadow: { url: "http://127.0.0.1:1", rate: 1/s } }
`;
  writeFileSync(join(cwd, "spoa-relay.yaml"), config);
  const agent = new ServiceProcess(["agent", "--config", join(cwd, "spoa-relay.yaml")]);
  await agent.logged("listening", "shipper-failed");
  agent.child.kill("SIGTERM");

  expect(await agent.exited).toEqual({ code: 0, signal: null });
  expect(agent.output).toContain("the directory /proc/spoa-relay/data cannot be created");
});

describe("a thread that ends without an error", () => {
  it("is replaced by the agent, which logs it", async () => {
    const { file, env } = await endsFirstThread();
    const agent = new ServiceProcess(["agent", "--config", file], { env });
    await agent.logged("shipper-failed", "shipper-started");
    agent.child.kill("SIGTERM");

    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(agent.log.filter(({ level }) => level === "error")).toMatchObject([
      { event: "shipper-failed", reason: "the thread ended with code 0" },
    ]);
  });

  it("is named by a host with captures", async () => {
    const { file, env } = await endsFirstThread();
    const host = new ServiceProcess(["host", "--config", file], { env });
    await host.logged("replaying", "upkeep-died");
    host.child.kill("SIGTERM");

    expect(await host.exited).toEqual({ code: 0, signal: null });
    expect(host.log.filter(({ level }) => level === "error")).toMatchObject([
      { event: "upkeep-died", reason: "the thread ended with code 0" },
    ]);
  });
});

/** A configuration, and an environment in which the first thread of a process ends soon after its start. */
async function endsFirstThread() {
  const cwd = temporaryDirectory();
  const [port] = await freePorts(3);
  const file = join(cwd, "spoa-relay.yaml");
  writeFileSync(
    file,
    `agent: { listen: "127.0.0.1:${port}", admin: "127.0.0.1:${port + 1}" }
host: { admin: "127.0.0.1:${port + 2}" }
queue: embedded:./data
targets: { shadow: { url: "http://127.0.0.1:1", rate: 1/s } }
captures: { all: { store: ./captures } }
`,
  );
  const preload = join(cwd, "preload.mjs");
  writeFileSync(
    preload,
    `import { existsSync, writeFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
const mark = new URL("ended", import.meta.url);
if (!isMainThread && !existsSync(mark)) {
  writeFileSync(mark, "");
  setTimeout(() => process.exit(0), 300);
}
`,
  );
  return { file, env: { ...process.env, NODE_OPTIONS: `--import ${preload}` } };
}

interface Up {
  readonly service: ServiceProcess;
  /** Part of the command line of each of its processes. */
  readonly file: string;
  /** Resolves when the shadow, which never answers, has a request. */
  requestInFlight(): Promise<void>;
}

async function startUp(): Promise<Up> {
  const cwd = temporaryDirectory();
  const [port] = await freePorts(3);
  let received = 0;
  const shadow = createServer(() => received++).listen(0, "127.0.0.1");
  await once(shadow, "listening");
  onTestFinished(() => {
    shadow.closeAllConnections();
    shadow.close();
  });
  const file = join(cwd, "spoa-relay.yaml");
  const config = `agent: { listen: "127.0.0.1:${port}", admin: "127.0.0.1:${port + 1}" }
host: { admin: "127.0.0.1:${port + 2}" }
queue: embedded:./data
targets: { shadow: { url: "http://127.0.0.1:${(shadow.address() as AddressInfo).port}", rate: unlimited, timeout: 60s } }
`;
  writeFileSync(file, config);
  const service = new ServiceProcess(["up", "--config", file]);
  await service.logged("listening", "replaying");
  return {
    service,
    file,
    async requestInFlight() {
      const queue = EmbeddedQueue.open({ directory: join(cwd, "data"), name: targetQueue("shadow") });
      await queue.queue.send([packMessage({ requests: requests(1) })]);
      queue.close();
      await until(() => received > 0);
    },
  };
}

async function childrenOf(pid: number): Promise<readonly number[]> {
  const { stdout } = spawnSync("ps", ["-o", "pid=", "--ppid", `${pid}`], { encoding: "utf8" });
  return stdout.trim().split(/\s+/).map(Number);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
