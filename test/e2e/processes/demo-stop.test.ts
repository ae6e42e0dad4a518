import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { describe, it } from "vitest";
import { until } from "../../support/clocks/until.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";
import { mainFile } from "../../support/processes/command-line.ts";
import { freePorts } from "../../support/servers/free-ports.ts";

describe("a demo that is stopped", () => {
  it.each<{ readonly name: string; readonly end: (demo: ChildProcess) => void }>([
    { name: "Ctrl+C", end: (demo) => demo.kill("SIGINT") },
    {
      name: "Ctrl+C that npm passes on",
      end: (demo) => {
        demo.kill("SIGINT");
        setTimeout(() => demo.kill("SIGINT"), 50);
      },
    },
    { name: "SIGTERM", end: (demo) => demo.kill("SIGTERM") },
    { name: "the end of its terminal", end: (demo) => demo.kill("SIGHUP") },
    { name: "the end of the reader of its output", end: (demo) => demo.stdout?.destroy() },
  ])(
    "leaves no process and no file behind after $name",
    async ({ end }) => {
      const directory = temporaryDirectory();
      const [first] = await freePorts(8);
      const env = { ...process.env, TMPDIR: directory };
      const demo = spawn(process.execPath, [mainFile, "demo", "--ports", `${first}`], {
        env,
        stdio: ["ignore", "pipe", "ignore"],
      });
      const ended = once(demo, "exit");
      const shown = new Promise<void>((resolve) => {
        let text = "";
        demo.stdout.on("data", (chunk: Buffer) => {
          text += chunk.toString();
          if (text.includes("2  100 ×")) resolve();
        });
      });
      await shown;
      end(demo);
      await ended;

      // HAProxy, the agent, and the admin addresses of agent and host.
      for (const port of [first, first + 5, first + 6, first + 7]) await until(async () => !(await isOpen(port)));
      await until(() => readdirSync(directory).length === 0);
    },
    60_000,
  );
});

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
