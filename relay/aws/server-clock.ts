import { machineClock } from "../process/machine-clock.ts";

/** The parts of a client of the AWS SDK that a `ServerClock` needs. */
interface AwsClient {
  readonly middlewareStack: {
    // biome-ignore lint/suspicious/noExplicitAny: each client of the SDK has types of its own here
    add(middleware: any, options: any): void;
  };
}

/**
 * The clock of an AWS service, as its answers tell it, to a second. Setting the clock of this machine changes nothing. Before the
 * first answer, it is the clock of this machine.
 */
export class ServerClock {
  #offsetMs: number | undefined;

  /** @param client learns from its answers from now on */
  constructor(client: AwsClient) {
    type Next = (args: unknown) => Promise<{ readonly response: unknown }>;
    const learning = (next: Next) => async (args: unknown) => {
      const result = await next(args);
      this.#learn(result.response);
      return result;
    };
    client.middlewareStack.add(learning, { step: "deserialize", priority: "low", name: "serverClock" });
  }

  /** In milliseconds since 1970. */
  nowMs(): number {
    return this.#offsetMs === undefined ? machineClock.wallMs() : Math.floor(machineClock.uptimeMs() + this.#offsetMs);
  }

  #learn(response: unknown): void {
    const { headers } = response as { readonly headers?: Readonly<Record<string, string>> };
    const dateMs = Date.parse(headers?.date ?? "");
    if (!Number.isNaN(dateMs)) this.#offsetMs = dateMs - machineClock.uptimeMs();
  }
}
