/** What happens to a durable step of a process. After `crash` and `done, then crash` the process's memory is lost. */
export type StepEnd = "done" | "refused" | "done, but refused" | "crash" | "done, then crash";

interface Step {
  readonly run: () => Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A process of the model: its code runs freely, but stops before each durable step, a call to a queue or to the state, until
 * the model lets it go on. So the model decides in which order the steps of all processes happen, and which never do.
 */
export class ModelProcess {
  readonly #parked: Step[] = [];
  readonly #toError: () => Error;
  #dead = false;
  #work: Promise<void> | undefined;
  #changed = Promise.withResolvers<void>();

  /** @param toError the error of a refused step */
  constructor(toError: () => Error) {
    this.#toError = toError;
  }

  get idle(): boolean {
    return this.#work === undefined;
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** A port of which these methods are steps. */
  stepwise<Port extends object>(port: Port, names: readonly (keyof Port)[]): Port {
    return new Proxy(port, {
      get: (_, key) => {
        const value: unknown = Reflect.get(port, key);
        if (typeof value !== "function") return value;
        const isStep = names.includes(key as keyof Port);
        return (...given: unknown[]) => {
          const call = () => Reflect.apply(value, port, given) as Promise<unknown>;
          return isStep ? this.#step(call) : call();
        };
      },
    });
  }

  /** Starts work, up to its first step. Failed steps end it. */
  async start(work: () => Promise<void>): Promise<void> {
    this.#work = work()
      .catch(() => {})
      .then(() => {
        this.#work = undefined;
        this.#changed.resolve();
      });
    await this.#untilParked();
  }

  /** Ends one of the steps that the process waits for; resolves when the process waits for the next one, or is idle. */
  async advance(random: () => number, end: StepEnd): Promise<void> {
    const [step] = this.#parked.splice(Math.floor(random() * this.#parked.length), 1);
    if (end === "crash" || end === "done, then crash") this.crash();
    if (end === "done, then crash" || end === "done, but refused") await step.run().catch(() => {});
    if (end === "done") await step.run().then(step.resolve, step.reject);
    else if (!this.#dead) step.reject(this.#toError());
    if (!this.#dead) await this.#untilParked();
  }

  /** Nothing that this process waits for will ever happen. */
  crash(): void {
    this.#dead = true;
    this.#parked.length = 0;
  }

  #step(run: () => Promise<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#dead) return;
      this.#parked.push({ run, resolve, reject });
      this.#changed.resolve();
    });
  }

  async #untilParked(): Promise<void> {
    while (this.#work && this.#parked.length === 0) {
      await this.#changed.promise;
      this.#changed = Promise.withResolvers<void>();
    }
  }
}
