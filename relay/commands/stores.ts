import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { openStores, type Stores } from "../stores.ts";

/** Does something with the queues, the state and the archives that a configuration names. Throws `ConfigError` and what `work` rejects with. */
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
