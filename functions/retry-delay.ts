const firstMs = 5_000;
const maxMs = 300_000;

/**
 * How long a message waits that failed, by how often it was received: twice as long each time. It may be received so often
 * only before it becomes a dead letter.
 */
export function retryDelayMs(receiveCount: number): number {
  return Math.min(firstMs * 2 ** Math.min(receiveCount - 1, 10), maxMs);
}
