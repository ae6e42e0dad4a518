import {
  type EventSourceMappingConfiguration,
  LambdaClient,
  ListEventSourceMappingsCommand,
  UpdateEventSourceMappingCommand,
} from "@aws-sdk/client-lambda";
import { z } from "zod";
import type { TargetConfig } from "../../relay/config/config.ts";
import { ConfigError } from "../../relay/config/text.ts";
import { functionVariables } from "../../relay/deployed/functions.ts";

/** Switches that decide whether Lambda delivers messages to a function. */
export interface MappingSwitches {
  /**
   * Resolves with whether a switch was changed. A switch that is already in the wanted position, or is changing, which takes
   * about a minute, is left alone.
   */
  turn(functionArn: string, on: boolean): Promise<boolean>;
}

const connectTimeoutMs = 2_000;
const answerTimeoutMs = 5_000;
const maxAttempts = 2;

/**
 * The event source mappings of functions, each in the function's region, or at AWS_ENDPOINT_URL_LAMBDA if that is set.
 * Rejects with the SDK's errors, and if a function has no mapping.
 */
export class EventSourceMappings implements MappingSwitches {
  readonly #clients = new Map<string, LambdaClient>();

  async turn(functionArn: string, on: boolean): Promise<boolean> {
    const client = this.#clientOf(functionArn);
    // Read each time and not cached: somebody may have switched the mapping by hand, or replaced it.
    const { EventSourceMappings: mappings = [] } = await client.send(
      new ListEventSourceMappingsCommand({ FunctionName: functionArn }),
    );
    if (mappings.length === 0) throw new Error(`${functionArn} has no event source mapping; deploy again to create it`);
    const others = mappings.filter((mapping) => isOn(mapping) === !on);
    for (const { UUID } of others) await client.send(new UpdateEventSourceMappingCommand({ UUID, Enabled: on }));
    return others.length > 0;
  }

  close(): void {
    for (const client of this.#clients.values()) client.destroy();
  }

  #clientOf(functionArn: string): LambdaClient {
    const region = functionArn.split(":")[3];
    let client = this.#clients.get(region);
    if (!client) {
      client = createClient(region);
      this.#clients.set(region, client);
    }
    return client;
  }
}

/** Undefined while the mapping is changing: until then it cannot be switched. */
function isOn({ State: state }: EventSourceMappingConfiguration): boolean | undefined {
  if (state === "Enabled") return true;
  return state === "Disabled" ? false : undefined;
}

function createClient(region: string): LambdaClient {
  return new LambdaClient({
    region,
    retryMode: "standard",
    maxAttempts,
    requestHandler: {
      connectionTimeout: connectTimeoutMs,
      requestTimeout: answerTimeoutMs,
      throwOnRequestTimeout: true,
    },
  });
}

const functionArn = z.string().regex(/^arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:function:[\w-]+$/);

/**
 * Parses a JSON object of target names and ARNs; no mappings if `json` is undefined. Throws `ConfigError` if it is not such an
 * object, or names an unknown target.
 */
export function parseMappings(json: string | undefined, targets: readonly TargetConfig[]): ReadonlyMap<string, string> {
  const variable = functionVariables.mappings;
  let mappings: ReadonlyMap<string, string>;
  try {
    mappings = new Map(Object.entries(z.record(z.string(), functionArn).parse(JSON.parse(json ?? "{}"))));
  } catch {
    const example = '{"staging":"arn:aws:lambda:eu-west-1:123456789012:function:packs-replay-staging"}';
    throw new ConfigError([
      `${variable}: must be a JSON object with the ARN of the replay function for each target name, as in ${example}`,
    ]);
  }
  const unknown = [...mappings.keys()].find((name) => !targets.some((target) => target.name === name));
  if (unknown !== undefined) {
    const names = targets.map(({ name }) => name).join(", ");
    throw new ConfigError([`${variable}: there is no target ${unknown}; the configuration has: ${names}`]);
  }
  return mappings;
}
