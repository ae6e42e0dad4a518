import { GetEventSourceMappingCommand, LambdaClient, UpdateEventSourceMappingCommand } from "@aws-sdk/client-lambda";
import { z } from "zod";
import type { TargetConfig } from "../relay/config.ts";
import { ConfigError } from "../relay/config-text.ts";

/** Switches by which Lambda does, or does not, take messages from a queue. */
export interface MappingSwitches {
  /** Undefined while the switch is being turned, which takes about a minute: it cannot be turned again before. */
  isOn(uuid: string): Promise<boolean | undefined>;
  turn(uuid: string, on: boolean): Promise<void>;
}

const connectTimeoutMs = 2_000;
const answerTimeoutMs = 5_000;
const maxAttempts = 2;

/** Event source mappings of the function's own region, or wherever AWS_ENDPOINT_URL_LAMBDA says. Throws what the SDK throws. */
export class EventSourceMappings implements MappingSwitches {
  readonly #client = new LambdaClient({
    retryMode: "standard",
    maxAttempts,
    requestHandler: {
      connectionTimeout: connectTimeoutMs,
      requestTimeout: answerTimeoutMs,
      throwOnRequestTimeout: true,
    },
  });

  async isOn(uuid: string): Promise<boolean | undefined> {
    const { State } = await this.#client.send(new GetEventSourceMappingCommand({ UUID: uuid }));
    if (State === "Enabled") return true;
    return State === "Disabled" ? false : undefined;
  }

  async turn(uuid: string, on: boolean): Promise<void> {
    await this.#client.send(new UpdateEventSourceMappingCommand({ UUID: uuid, Enabled: on }));
  }

  close(): void {
    this.#client.destroy();
  }
}

/**
 * Reads UUIDs by the names of targets from a JSON object; none from nothing. Throws `ConfigError` where it is none, or names
 * what is no target.
 */
export function parseMappings(json: string | undefined, targets: readonly TargetConfig[]): ReadonlyMap<string, string> {
  let mappings: ReadonlyMap<string, string>;
  try {
    mappings = new Map(Object.entries(z.record(z.string(), z.string().min(1)).parse(JSON.parse(json ?? "{}"))));
  } catch {
    const example = '{"staging":"14e0db71-5d35-4eb5-b481-8945cf9d10c2"}';
    throw new ConfigError([`RELAY_MAPPINGS: must be UUIDs by the names of targets, such as ${example}`]);
  }
  const stranger = [...mappings.keys()].find((name) => !targets.some((target) => target.name === name));
  if (stranger !== undefined) throw new ConfigError([`RELAY_MAPPINGS: ${stranger} is none of the targets`]);
  return mappings;
}
