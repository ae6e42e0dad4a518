import { GetEventSourceMappingCommand, LambdaClient, UpdateEventSourceMappingCommand } from "@aws-sdk/client-lambda";

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
