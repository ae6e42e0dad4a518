import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { ControlClient } from "../control/client.ts";

/** Runs `work` with a client of the configuration's control API. Throws `ConfigError` and the errors of `work`. */
export async function withControl<T>(
  configFile: string,
  work: (client: ControlClient, config: Config) => Promise<T>,
): Promise<T> {
  const config = loadConfig(configFile, process.env);
  const client = new ControlClient(config);
  try {
    return await work(client, config);
  } finally {
    await client.close();
  }
}
