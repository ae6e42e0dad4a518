import { readSecret, SecretError } from "../../relay/aws/secrets-manager.ts";
import type { SecretPlace } from "../../relay/config/deployment.ts";
import { functionVariables } from "../../relay/deployed/functions.ts";
import type { Logger } from "../../relay/log/log.ts";
import { Outage } from "../../relay/log/outage.ts";
import { createForwardClock, type MachineClock } from "../../relay/process/machine-clock.ts";

type Values = Readonly<Record<string, string>>;

/** By the name of the variable that a target's `{ env: NAME }` names. */
type Places = Readonly<Record<string, SecretPlace>>;

type ReadSecret = (place: SecretPlace) => Promise<string>;

export interface FunctionSecretsOptions {
  readonly places: Places;
  readonly read: ReadSecret;
  /** The values that the process started with. */
  readonly values: Values;
  readonly log: Logger;
  readonly machine?: MachineClock;
}

const freshMs = 300_000;
const retryMs = 30_000;

/** Reads all secrets at once. Rejects with `SecretError`, which names all that cannot be read. */
export async function readSecrets(places: Places, read: ReadSecret): Promise<Values> {
  const { values, mistakes } = await readEach(places, read);
  if (mistakes.length > 0) throw new SecretError(mistakes.join("; "));
  return values;
}

/**
 * The secrets of a function, which are never in the environment of its process. The first invocation that finds them older than
 * five minutes reads them again. A secret that cannot be read keeps its last value, and the next try is 30 s later.
 */
export class FunctionSecrets {
  readonly #options: FunctionSecretsOptions;
  readonly #nowMs: () => number;
  readonly #outage: Outage;
  #values: Values;
  #readAgainMs: number;

  constructor(options: FunctionSecretsOptions) {
    this.#options = options;
    // The uptime may stop while the function is frozen.
    this.#nowMs = createForwardClock(options.machine);
    this.#values = options.values;
    this.#readAgainMs = this.#nowMs() + freshMs;
    this.#outage = new Outage(options.log, {
      down: ["secrets-down", "secrets cannot be read again: the function uses the values that it has"],
      up: ["secrets-up", "secrets can be read again"],
      level: "warn",
    });
  }

  /** The values by variable: the same object until one changes. */
  async current(): Promise<Values> {
    if (this.#nowMs() < this.#readAgainMs) return this.#values;
    const { places, read } = this.#options;
    const { values, mistakes } = await readEach(places, read);
    this.#readAgainMs = this.#nowMs() + (mistakes.length > 0 ? retryMs : freshMs);
    if (mistakes.length > 0) this.#outage.fail(mistakes.join("; "));
    else this.#outage.recover();
    const changed = Object.entries(values).some(([name, value]) => this.#values[name] !== value);
    if (changed) this.#values = { ...this.#values, ...values };
    return this.#values;
  }
}

/** Reads the secrets in parallel; `values` has those that could be read. */
async function readEach(places: Places, read: ReadSecret) {
  const values: Record<string, string> = {};
  const mistakes: string[] = [];
  const readOne = async ([name, place]: readonly [string, SecretPlace]) => {
    try {
      values[name] = await read(place);
    } catch (error) {
      mistakes.push(`{ env: ${name} }: ${(error as Error).message}`);
    }
  };
  await Promise.all(Object.entries(places).map(readOne));
  return { values, mistakes };
}

/** Parses the setting `secrets` of a function. Throws `SecretError`. */
export function parseSecretPlaces(text: string | undefined): Places {
  if (text === undefined) return {};
  try {
    return JSON.parse(text) as Places;
  } catch (error) {
    throw new SecretError(`${functionVariables.secrets} is not JSON, as the deployment writes it: deploy again`, {
      cause: error,
    });
  }
}

/** Reads secrets of the function's own region. */
export function secretReader({
  AWS_REGION: region = "us-east-1",
  AWS_ENDPOINT_URL_SECRETS_MANAGER: own,
  AWS_ENDPOINT_URL: any,
}: Readonly<Record<string, string | undefined>>): ReadSecret {
  return (place) => readSecret(place, { region, endpoint: own ?? any });
}
