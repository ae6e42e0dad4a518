import type { OpenAPIHono } from "@hono/zod-openapi";
import { onTestFinished } from "vitest";
import { createControl } from "../../../functions/control/control.ts";
import type { ControlDeps } from "../../../functions/control/deps.ts";
import type { TargetConfig } from "../../../relay/config/config.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import type { OpenQueue } from "../../../relay/queue/port.ts";
import { removedInDirectory } from "../../../relay/removed-queues.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import type { Controls, Figures, State } from "../../../relay/state/port.ts";
import { queueIn } from "../../../relay/stores.ts";
import { LogLines } from "../data/log-lines.ts";
import { target } from "../data/targets.ts";
import { temporaryDirectory } from "../data/temporary-directory.ts";

export interface ControlBenchOptions extends Partial<Pick<ControlDeps, "access">> {
  readonly targets?: readonly Partial<TargetConfig>[];
  /** Methods of the state that the test replaces. */
  readonly faultyState?: (state: EmbeddedState) => StateFaults;
  /** Methods of the targets' queues that the test replaces. */
  readonly faultyQueue?: (queue: EmbeddedQueue) => Partial<OpenQueue>;
  /** The only target reads the ingress queue itself. */
  readonly direct?: boolean;
  /** Targets that are no longer in the configuration, but have queues. */
  readonly removed?: readonly string[];
}

/** The replaced methods, by port. */
interface StateFaults {
  readonly controls?: Partial<Controls>;
  readonly figures?: Partial<Figures>;
}

export interface Answered {
  readonly status: number;
  readonly type: string;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: any answer of the API.
  readonly json: any;
}

/** The control API over real queues and a real state, in a directory that is removed after the test. */
export class ControlBench {
  nowMs = Date.UTC(2026, 8, 1, 12, 30, 30);
  readonly log = new LogLines();
  readonly state: EmbeddedState;
  readonly ingress: EmbeddedQueue;
  readonly queues: ReadonlyMap<string, EmbeddedQueue>;
  /** By the name of a target that is no longer in the configuration. */
  readonly removed: ReadonlyMap<string, EmbeddedQueue>;
  readonly app: OpenAPIHono;

  constructor(options: ControlBenchOptions = {}) {
    const { targets = [{}], access = { kind: "checked" }, direct, faultyState, faultyQueue } = options;
    const gone = options.removed ?? [];
    const directory = temporaryDirectory();
    const now = () => this.nowMs;
    const configs = targets.map(target);
    this.state = EmbeddedState.open(directory, now);
    this.ingress = EmbeddedQueue.open({ directory, name: "ingress", now });
    const open = (name: string) =>
      direct ? this.ingress : EmbeddedQueue.open({ directory, name: `target-${name}`, now });
    this.queues = new Map(configs.map(({ name }) => [name, open(name)]));
    this.removed = new Map(gone.map((name) => [name, EmbeddedQueue.open({ directory, name: `target-${name}`, now })]));
    const queues = new Map(Array.from(this.queues, ([name, queue]) => [name, withFaults(queue, faultyQueue?.(queue))]));
    const removed = removedInDirectory(directory, configs, { now });
    this.app = createControl({
      targets: configs,
      stores: {
        ingress: this.ingress,
        targets: queues,
        queueOf: (name) => queueIn(queues, name),
        removed,
        state: withFaultyPorts(this.state, faultyState?.(this.state)),
      },
      access,
      log: this.log.log,
      now,
    });
    onTestFinished(() => {
      for (const queue of [this.ingress, ...this.queues.values(), ...this.removed.values()]) queue.close();
      removed.close();
      this.state.close();
    });
  }

  /** The queue of the first target. */
  get queue(): EmbeddedQueue {
    return [...this.queues.values()][0];
  }

  async get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answered> {
    return toAnswered(await this.app.request(path, { headers }));
  }

  /** @param body a value to send as JSON, or a text to send unchanged */
  async send(method: "PATCH" | "POST", path: string, body?: unknown, type = "application/json"): Promise<Answered> {
    if (body === undefined) return toAnswered(await this.app.request(path, { method }));
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return toAnswered(await this.app.request(path, { method, body: text, headers: { "content-type": type } }));
  }
}

function withFaultyPorts(state: State, { controls, figures }: StateFaults = {}): State {
  return withFaults(state, {
    controls: withFaults(state.controls, controls),
    figures: withFaults(state.figures, figures),
  });
}

/** The same object with some properties replaced. */
function withFaults<T extends object>(whole: T, faults: object | undefined): T {
  if (!faults) return whole;
  return new Proxy(whole, {
    get(_, key) {
      if (key in faults) return Reflect.get(faults, key);
      const value = Reflect.get(whole, key);
      return typeof value === "function" ? value.bind(whole) : value;
    },
  });
}

async function toAnswered(response: Response): Promise<Answered> {
  const text = await response.text();
  const type = response.headers.get("content-type") ?? "";
  return {
    status: response.status,
    type,
    headers: response.headers,
    json: /json/.test(type) ? JSON.parse(text) : text,
  };
}
