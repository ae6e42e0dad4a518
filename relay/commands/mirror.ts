import { type Command, InvalidArgumentError } from "commander";
import { bounds, isWithinBounds } from "../config/bounds.ts";
import { address } from "../config/forms.ts";
import { parsePort } from "./command-line.ts";
import { assertAgrees, directoryOf, parseRuntimeMs, reportOlder, writeMirrorConfig } from "./mirror-config.ts";
import { runUp } from "./services.ts";
import { refuseOtherFlags } from "./spoa-mirror-flags.ts";

export function addMirror(program: Command): void {
  const mirror = program
    .command("mirror")
    .description("mirror everything to one URL, with the flags of spoa-mirror")
    .requiredOption("-u, --mirror-url <url>", "URL of the shadow", parseUrl)
    .option(
      "-r, --runtime <time>",
      "how long to run: 30s, 5m, 1h, or a number of milliseconds; 0 runs until it is stopped",
      parseRuntime,
      0,
    )
    .option("-a, --address <address>", "address on which the agent listens", parseListen, "127.0.0.1")
    .option(
      "-p, --port <port>",
      "port of the agent; the next two ports are the admin ports of agent and host",
      parsePort,
      12345,
    )
    .option(
      "--data <directory>",
      "directory for the queue and for the configuration, which this command writes if it is missing " +
        "(default: ./spoa-relay-data/PORT)",
    )
    .addHelpText(
      "after",
      `
A configuration that exists is used as it is, with everything that you added to it. If it differs from the flags, the command
ends and says how.

Example: spoa-relay mirror -r0 -u http://127.0.0.1:8082 -p 12345`,
    )
    .action(async ({ mirrorUrl, runtime, address: host, port, data }) => {
      const flags = { url: mirrorUrl, address: host, port };
      const directory = data ?? directoryOf(port);
      process.exitCode = await runUp(writeMirrorConfig(flags, directory), {
        command: "mirror",
        ...(runtime > 0 && { end: AbortSignal.timeout(runtime) }),
        prepare: async (config, log) => {
          assertAgrees(config, flags);
          if (data === undefined) await reportOlder(config.file, log);
        },
      });
    });
  refuseOtherFlags(mirror);
}

// A mistake is found before the configuration is written, which would keep it.
function parseListen(text: string): string {
  const host = text.replace(/^\[(.*)\]$/, "$1");
  const { data } = address.safeParse(host.includes(":") ? `[${host}]:1` : `${host}:1`);
  if (data?.kind === "tcp") return host;
  throw new InvalidArgumentError("It must be an address such as 127.0.0.1 or ::1.");
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url?.username || url?.password) {
    throw new InvalidArgumentError(
      "It cannot hold a user or a password: write a configuration file, and set the header Authorization of the target.",
    );
  }
  if (url?.search || url?.hash) throw new InvalidArgumentError("It can have a path, but no query and no fragment.");
  if (url && /^https?:$/.test(url.protocol)) return url;
  throw new InvalidArgumentError("It must be a URL such as http://127.0.0.1:8082.");
}

function parseRuntime(text: string): number {
  const runtimeMs = parseRuntimeMs(text);
  if (runtimeMs !== undefined && isWithinBounds(runtimeMs, bounds.timerMs)) return runtimeMs;
  throw new InvalidArgumentError(
    "It must be a number of milliseconds or a duration such as 5m, at most 24d; 0 runs until it is stopped.",
  );
}
