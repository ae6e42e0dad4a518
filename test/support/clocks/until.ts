import { setTimeout as sleep } from "node:timers/promises";

/** Waits until a fact holds, and checks it every 20 ms. Throws if that takes longer than `withinMs`. */
export async function until(holds: () => boolean | Promise<boolean>, withinMs = 30_000): Promise<void> {
  for (const endMs = Date.now() + withinMs; !(await holds()); await sleep(20)) {
    if (Date.now() > endMs) throw new Error(`not within ${withinMs} ms: ${holds}`);
  }
}
