import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { targetQueue } from "../../../relay/queue/names.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";
import { ServiceProcess } from "../../support/processes/service-process.ts";
import { freePorts } from "../../support/servers/free-ports.ts";

describe("spoa-relay mirror", () => {
  it("keeps the data of each port in a directory of its own", async () => {
    const cwd = temporaryDirectory();
    const [first, second] = [await threePorts(), await threePorts()];
    const one = mirror(cwd, first, "http://127.0.0.1:1");
    const other = mirror(cwd, second, "http://127.0.0.1:2");
    await one.logged("listening", "replaying");
    await other.logged("listening", "replaying");

    expect(read(cwd, `spoa-relay-data/${first}/spoa-relay.yaml`)).toContain("url: http://127.0.0.1:1\n");
    expect(read(cwd, `spoa-relay-data/${second}/spoa-relay.yaml`)).toContain("url: http://127.0.0.1:2\n");
  });

  it("refuses a directory that another one uses, names its process, and says what to do", async () => {
    const cwd = temporaryDirectory();
    const first = mirror(cwd, await threePorts(), "http://127.0.0.1:1", "--data", "shared");
    await first.logged("listening", "replaying");
    const second = mirror(cwd, await threePorts(), "http://127.0.0.1:2", "--data", "shared");

    expect(await second.exited).toMatchObject({ code: 1 });
    expect(second.output).toContain(
      `${join(cwd, "shared/data")} is in use by process ${first.child.pid} (spoa-relay mirror, since `,
    );
    expect(second.output).toContain("Stop that process, or use another directory: --data for mirror");
    expect(read(cwd, "shared/spoa-relay.yaml")).toContain("http://127.0.0.1:1");
  });

  it("refuses the directory of a running up, also to another up", async () => {
    const cwd = temporaryDirectory();
    const first = new ServiceProcess(["up", "--config", configure(cwd, "first.yaml", await threePorts())], { cwd });
    await first.logged("listening", "replaying");
    const second = new ServiceProcess(["up", "--config", configure(cwd, "second.yaml", await threePorts())], { cwd });

    expect(await second.exited).toMatchObject({ code: 1 });
    expect(second.output).toContain(`is in use by process ${first.child.pid} (spoa-relay up, since `);
  });

  it("lets an agent and a host of another configuration share the queue of a running up", async () => {
    const cwd = temporaryDirectory();
    const first = new ServiceProcess(["up", "--config", configure(cwd, "first.yaml", await threePorts())], { cwd });
    await first.logged("listening", "replaying");
    const second = configure(cwd, "second.yaml", await threePorts());
    await new ServiceProcess(["agent", "--config", second], { cwd }).logged("listening");
    await new ServiceProcess(["host", "--config", second], { cwd }).logged("replaying");
  });

  it("runs an edited configuration as it is", async () => {
    const cwd = temporaryDirectory();
    const port = await threePorts();
    await stop(mirror(cwd, port, "http://127.0.0.1:1/base"));
    const file = `spoa-relay-data/${port}/spoa-relay.yaml`;
    const edited = `# my shadow\n${read(cwd, file).replace("unlimited", "20/s")}  second:\n    url: http://127.0.0.1:2\n    rate: 1/s\n`;
    writeFileSync(join(cwd, file), edited);
    const again = mirror(cwd, port, "http://127.0.0.1:1/base");
    await again.logged("listening", "replaying");

    expect(again.log).toContainEqual(expect.objectContaining({ event: "replaying", targets: ["mirror", "second"] }));
    expect(read(cwd, file)).toBe(edited);
  });

  it("ends with every difference between an existing configuration and the flags, and leaves the file alone", async () => {
    const cwd = temporaryDirectory();
    const [port, other] = [await threePorts(), await threePorts()];
    await stop(mirror(cwd, port, "http://127.0.0.1:1", "--data", "data"));
    const before = read(cwd, "data/spoa-relay.yaml");
    const second = mirror(cwd, other, "http://127.0.0.1:2/base", "--data", "data");

    expect(await second.exited).toMatchObject({ code: 2 });
    expect(
      second.output,
    ).toBe(`data/spoa-relay.yaml exists, and mirror does not overwrite it. It differs from the flags:
  agent.listen is 127.0.0.1:${port}, and the flags --address and --port say 127.0.0.1:${other}
  targets.mirror has the URL http://127.0.0.1:1/, and the flag --mirror-url says http://127.0.0.1:2/base
To go on with the file, also with requests that wait: spoa-relay up --config data/spoa-relay.yaml
To go on with the flags: change the file, or name another directory with --data
`);
    expect(read(cwd, "data/spoa-relay.yaml")).toBe(before);
  });

  describe("after an update from a version with one directory for all ports", () => {
    it("goes on with the directory, and with the requests in it, on the same port", async () => {
      const cwd = temporaryDirectory();
      const port = await threePorts();
      await olderDirectory(cwd, port);
      const updated = mirror(cwd, port, "http://127.0.0.1:1");
      await updated.logged("listening", "replaying", "poison");

      expect(updated.log.map(({ event }) => event)).not.toContain("left-behind");
    });

    it("says on another port that requests wait there, and how to send them", async () => {
      const cwd = temporaryDirectory();
      await olderDirectory(cwd, await threePorts());
      const updated = mirror(cwd, await threePorts(), "http://127.0.0.1:1");
      await updated.logged("listening", "replaying");
      const warning = updated.log.find(({ event }) => event === "left-behind");

      expect(warning).toMatchObject({ level: "warn", directory: join(cwd, "spoa-relay-data/data"), requests: 7 });
      expect(warning?.msg).toContain(`spoa-relay up --config ${join(cwd, "spoa-relay-data/spoa-relay.yaml")}`);
    });

    it("says so if the configuration there cannot be read", async () => {
      const cwd = temporaryDirectory();
      mkdirSync(join(cwd, "spoa-relay-data"));
      writeFileSync(join(cwd, "spoa-relay-data/spoa-relay.yaml"), "targets: 7\n");
      const updated = mirror(cwd, await threePorts(), "http://127.0.0.1:1");
      await updated.logged("listening", "replaying", "left-behind");
    });

    it("says so if the queue there is damaged, and starts", async () => {
      const cwd = temporaryDirectory();
      await olderDirectory(cwd, await threePorts());
      const data = join(cwd, "spoa-relay-data/data");
      for (const file of readdirSync(data))
        if (file.endsWith(".db")) writeFileSync(join(data, file), "damaged".repeat(2_000));
      const updated = mirror(cwd, await threePorts(), "http://127.0.0.1:1");
      await updated.logged("listening", "replaying", "left-behind");
    });
  });
});

function mirror(cwd: string, port: number, url: string, ...more: readonly string[]): ServiceProcess {
  return new ServiceProcess(["mirror", "-u", url, "-p", `${port}`, ...more], { cwd });
}

async function stop(service: ServiceProcess): Promise<void> {
  await service.logged("listening", "replaying");
  service.child.kill("SIGTERM");
  expect(await service.exited).toMatchObject({ code: 0 });
}

/** The first of three ports in a row, for the agent and the two admin addresses. */
async function threePorts(): Promise<number> {
  return (await freePorts(3))[0];
}

/** Writes a configuration with the data directory `data`; returns its path. */
function configure(cwd: string, name: string, port: number): string {
  const text = `agent: { listen: "127.0.0.1:${port}", admin: "127.0.0.1:${port + 1}" }
host: { admin: "127.0.0.1:${port + 2}" }
queue: embedded:./data
targets: { shadow: { url: "http://127.0.0.1:1", rate: 1/s } }
`;
  writeFileSync(join(cwd, name), text);
  return join(cwd, name);
}

/** What a version before ports had directories has written: a configuration and seven waiting requests. */
async function olderDirectory(cwd: string, port: number): Promise<void> {
  const directory = join(cwd, "spoa-relay-data");
  mkdirSync(directory);
  const text = `# Written by spoa-relay mirror.
agent:
  listen: "127.0.0.1:${port}"
  admin: 127.0.0.1:${port + 1}
host:
  admin: 127.0.0.1:${port + 2}
queue: embedded:./data
targets:
  mirror:
    url: http://127.0.0.1:1
    rate: unlimited
`;
  writeFileSync(join(directory, "spoa-relay.yaml"), text);
  const queue = EmbeddedQueue.open({ directory: join(directory, "data"), name: targetQueue("mirror") });
  await queue.queue.send([{ body: "{}", pack: Buffer.from("no pack"), requests: 7 }]);
  queue.close();
}

function read(cwd: string, file: string): string {
  return readFileSync(join(cwd, file), "utf8");
}
