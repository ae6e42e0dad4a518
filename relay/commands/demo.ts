import type { Command } from "commander";
import { runDemo } from "../demo/demo.ts";
import { demoPorts } from "../demo/ports.ts";
import { watchStopSignals } from "../process/stop-signals.ts";
import { parsePort } from "./command-line.ts";

/** @param haproxyDirectory directory of the example configuration of HAProxy */
export function addDemo(program: Command, haproxyDirectory: string): void {
  program
    .command("demo")
    .description("run HAProxy, a primary and shadows on this machine, and show how traffic is mirrored")
    .option("--stay", "keep everything running until Ctrl+C")
    .option("--ports <first>", "use eight ports starting at this one, instead of the default ports", parsePort)
    .addHelpText("after", "\nExample: spoa-relay demo --ports 20000 --stay")
    .action(async ({ stay, ports }: { stay?: boolean; ports?: number }) => {
      const { stop, force } = watchStopSignals();
      const held = await runDemo({
        ports: demoPorts(ports),
        haproxyDirectory,
        searchPath: process.env.PATH ?? "",
        stay: stay === true,
        stop,
        force,
        out: process.stdout,
      });
      process.exitCode = held ? 0 : 1;
    });
}
