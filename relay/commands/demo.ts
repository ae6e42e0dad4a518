import type { Command } from "commander";
import { runDemo } from "../demo/demo.ts";
import { demoPorts } from "../demo/ports.ts";
import { stopSignal } from "../process/service.ts";
import { parsePort } from "./port-argument.ts";

/** @param haproxyDirectory where the example configuration of HAProxy is */
export function addDemo(program: Command, haproxyDirectory: string): void {
  program
    .command("demo")
    .description("HAProxy, a primary and shadows on this machine, and traffic that shows what is mirrored")
    .option("--stay", "leave it running until Ctrl+C")
    .option("--ports <first>", "use eight ports from this one on instead of the usual ones", parsePort)
    .addHelpText("after", "\nExample: spoa-relay demo --ports 20000 --stay")
    .action(async ({ stay, ports }: { stay?: boolean; ports?: number }) => {
      const held = await runDemo({
        ports: demoPorts(ports),
        haproxyDirectory,
        searchPath: process.env.PATH ?? "",
        stay: stay ? stopSignal() : undefined,
        out: process.stdout,
      });
      process.exitCode = held ? 0 : 1;
    });
}
