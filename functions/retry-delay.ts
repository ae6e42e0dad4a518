const firstMs = 5_000;
const maxMs = 300_000;

/**
 * The delay before a failed message is delivered again: it doubles with each receive, from 5 s to 5 min. It also decides how
 * long a message keeps failing before its receives are used up and it becomes a dead letter.
 */
export function retryDelayMs(receiveCount: number): number {
  return Math.min(firstMs * 2 ** Math.min(receiveCount - 1, 10), maxMs);
}
