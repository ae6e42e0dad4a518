import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";

export interface LoadOptions {
  readonly perSecond: number;
  readonly connections: number;
  /** Requests are sent until this promise is fulfilled. */
  readonly during: () => Promise<unknown>;
}

/** The clients' view of the load. */
export interface LoadResult {
  readonly sent: number;
  /** A text for each answer that was not a 200. */
  readonly errors: readonly string[];
  /** Times from the start of a request to the end of its answer, ascending. */
  readonly timesMs: readonly number[];
}

/** Sends requests on persistent connections at a steady rate until `during` is done. */
export async function load(origin: string, options: LoadOptions): Promise<LoadResult> {
  const { perSecond, connections, during } = options;
  const pool = new Pool(origin, { connections });
  const errors: string[] = [];
  const timesMs: number[] = [];
  let sent = 0;
  let over = false;
  const client = async (_: unknown, index: number): Promise<void> => {
    const gapMs = (1_000 * connections) / perSecond;
    for (let dueMs = performance.now() + (gapMs * index) / connections; !over; dueMs += gapMs) {
      const earlyMs = dueMs - performance.now();
      if (earlyMs > 0) await sleep(earlyMs);
      sent++;
      const startedMs = performance.now();
      try {
        const { statusCode, body } = await pool.request({ method: "GET", path: `/api/v1/load/${sent}` });
        await body.dump();
        if (statusCode !== 200) errors.push(`status ${statusCode}`);
      } catch (error) {
        errors.push(String(error));
      }
      timesMs.push(performance.now() - startedMs);
    }
  };
  const clients = Array.from({ length: connections }, client);
  try {
    await during();
  } finally {
    over = true;
    await Promise.all(clients);
    await pool.close();
  }
  return { sent, errors, timesMs: timesMs.sort((a, b) => a - b) };
}
