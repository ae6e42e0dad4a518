import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { openStores, type Stores } from "../stores.ts";

/** Runs `work` with the queues, state and archives of the configuration. Throws `ConfigError` and the errors of `work`. */
export async function withStores<T>(
  configFile: string,
  work: (stores: Stores, config: Config) => Promise<T>,
): Promise<T> {
  const config = loadConfig(configFile, process.env);
  const stores = await openStores(config);
  try {
    return await work(stores, config);
  } finally {
    await stores.close();
  }
}
