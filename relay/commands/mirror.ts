import { type Command, InvalidArgumentError } from "commander";
import { parsePort } from "./command-line.ts";
import { parseRuntimeMs, writeMirrorConfig } from "./mirror-config.ts";
import { runUp } from "./services.ts";

export function addMirror(program: Command): void {
  program
    .command("mirror")
    .description("mirror everything to one URL, with the flags of spoa-mirror")
    .requiredOption("-u, --mirror-url <url>", "the shadow", parseUrl)
    .option(
      "-r, --runtime <time>",
      "how long to run: 30s, 5m, 1h; a number alone is milliseconds, 0 for no end",
      parseRuntime,
      0,
    )
    .option("-a, --address <address>", "where the agent listens", "127.0.0.1")
    .option("-p, --port <port>", "port of the agent; the next two are for figures", parsePort, 12345)
    .option("--data <directory>", "where queue and configuration are kept", "./spoa-relay-data")
    .addHelpText("after", "\nExample: spoa-relay mirror -r0 -u http://127.0.0.1:8082 -p 12345")
    .action(async ({ mirrorUrl, runtime, address, port, data }) => {
      const file = writeMirrorConfig({ url: mirrorUrl, address, port, directory: data });
      process.exitCode = await runUp(file, runtime > 0 ? AbortSignal.timeout(runtime) : undefined);
    });
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url?.username || url?.password) {
    throw new InvalidArgumentError(
      "It cannot have a user or a password: set the header Authorization in a file of yours.",
    );
  }
  if (url?.search || url?.hash) throw new InvalidArgumentError("It cannot have a query or a fragment, only a path.");
  if (url && /^https?:$/.test(url.protocol)) return url;
  throw new InvalidArgumentError("It has to be a URL such as http://127.0.0.1:8082.");
}

function parseRuntime(text: string): number {
  const runtimeMs = parseRuntimeMs(text);
  // More than a timer can hold.
  if (runtimeMs !== undefined && runtimeMs < 2 ** 31) return runtimeMs;
  throw new InvalidArgumentError("It has to be milliseconds, or a time such as 5m; 24d at most, 0 for no end.");
}
