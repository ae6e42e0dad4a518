import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { ControlClient } from "../control/client.ts";

/** Does something with the control API that a configuration names. Throws `ConfigError` and what `work` rejects with. */
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
