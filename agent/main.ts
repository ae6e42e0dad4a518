import { parseArgs } from "node:util";
import { isMainThread } from "node:worker_threads";
import { ConfigError } from "../relay/config-text.ts";
import { runService } from "../relay/service.ts";
import { startAgent } from "./agent.ts";

// The agent by itself, as one file: `node agent.js --config spoa-relay.yaml`.

const help = `Usage: agent --config FILE

Receives requests from HAProxy's SPOE filter and enqueues them in packs.

  --config FILE   configuration (default: spoa-relay.yaml)
  --help          this text

Example: agent --config /etc/spoa-relay/spoa-relay.yaml
Exit codes: 0 stopped in order, 1 could not start or gave requests up, 2 wrong argument or configuration
`;

async function main(): Promise<number> {
  let config: string;
  try {
    const { values } = parseArgs({
      options: { config: { type: "string", default: "spoa-relay.yaml" }, help: { type: "boolean" } },
    });
    if (values.help) {
      process.stdout.write(help);
      return 0;
    }
    config = values.config;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${help}`);
    return 2;
  }
  try {
    return await runService(config, startAgent);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return error instanceof ConfigError ? 2 : 1;
  }
}

// The shipper's thread loads this file, too, when all of the agent is bundled into it.
if (isMainThread) process.exit(await main());
