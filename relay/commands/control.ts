import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { ControlClient, ControlError } from "../control/client.ts";

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

/** Runs `call`; the mistakes that it reports have the flags in place of the keys of the body: `--rate: …` for `body.rate: …`. */
export async function withFlagNames<T>(keys: readonly string[], call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw error instanceof ControlError ? toFlagError(error, keys) : error;
  }
}

function toFlagError(error: ControlError, keys: readonly string[]): ControlError {
  const isFlag = ({ place }: ControlError["mistakes"][number]) => keys.some((key) => place === `body.${key}`);
  if (!error.mistakes.some(isFlag)) return error;
  const lines = error.mistakes.map((mistake) => {
    const { place, detail } = mistake;
    if (!isFlag(mistake)) return `${place}: ${detail}`;
    return `${place.replace("body.", "--")}: ${detail.replace(/, or null$/, ", or configured")}`;
  });
  return new ControlError(error.code, lines.join("\n"), { cause: error });
}
