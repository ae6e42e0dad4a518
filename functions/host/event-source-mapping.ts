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

/** Switches by which Lambda does, or does not, bring messages to a function. */
export interface MappingSwitches {
  /**
   * Resolves with whether anything was turned: nothing is that stands as wanted, or is being turned already, which takes
   * about a minute.
   */
  turn(functionArn: string, on: boolean): Promise<boolean>;
}

const connectTimeoutMs = 2_000;
const answerTimeoutMs = 5_000;
const maxAttempts = 2;

/**
 * The event source mappings of functions, each in the function's region, or wherever AWS_ENDPOINT_URL_LAMBDA says. Throws
 * what the SDK throws, and where a function has none.
 */
export class EventSourceMappings implements MappingSwitches {
  readonly #clients = new Map<string, LambdaClient>();

  async turn(functionArn: string, on: boolean): Promise<boolean> {
    const client = this.#clientOf(functionArn);
    // Asked each time and not remembered: somebody may have turned it by hand, or replaced it.
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

/** Undefined while it is being turned: it cannot be turned again before. */
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
 * Reads ARNs by the names of targets from a JSON object; none from nothing. Throws `ConfigError` where it is none, or names
 * what is no target.
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
  const stranger = [...mappings.keys()].find((name) => !targets.some((target) => target.name === name));
  if (stranger !== undefined) {
    const names = targets.map(({ name }) => name).join(", ");
    throw new ConfigError([`${variable}: there is no target ${stranger}; the configuration has: ${names}`]);
  }
  return mappings;
}
