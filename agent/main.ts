import "../relay/process/node-version.ts";
import { parseArgs } from "node:util";
import { isMainThread } from "node:worker_threads";
import { ConfigError } from "../relay/config/text.ts";
import { hideUrlPasswords } from "../relay/redaction/url-passwords.ts";
import { runAgent } from "./agent.ts";

// The standalone agent, bundled into one file: `node agent.js --config spoa-relay.yaml`.

const help = `Usage: agent --config FILE [--dump]

Receives requests from HAProxy's SPOE filter and enqueues them in packs.

  --config FILE   configuration (default: spoa-relay.yaml)
  --dump          print the requests, without what looks like a secret, instead of enqueueing them; the log is
                  written to standard error
  --help          print this text

Example: agent --config /etc/spoa-relay/spoa-relay.yaml
Exit codes: 0 stopped in order, 1 could not start or gave up requests at exit, 2 invalid argument or configuration
`;

async function main(): Promise<number> {
  let config: string;
  let dump: boolean;
  try {
    const { values } = parseArgs({
      options: {
        config: { type: "string", default: "spoa-relay.yaml" },
        dump: { type: "boolean", default: false },
        help: { type: "boolean" },
      },
    });
    if (values.help) {
      process.stdout.write(help);
      return 0;
    }
    ({ config, dump } = values);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${help}`);
    return 2;
  }
  try {
    return await runAgent(config, dump);
  } catch (error) {
    process.stderr.write(`${hideUrlPasswords((error as Error).message)}\n`);
    return error instanceof ConfigError ? 2 : 1;
  }
}

// In the bundle, the shipper thread loads this file too.
if (isMainThread) {
  // `--dump | head` closes the pipe when it has seen enough.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  process.exit(await main());
}
