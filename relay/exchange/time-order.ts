import type { Imported, ReadItem, ReadRequest } from "./imported.ts";

// Files are not sorted by time: a server logs a request after its response, and a browser lists requests as it starts
// them.
const maxWaiting = 20_000;
const maxWaitingBytes = 64 * 1024 * 1024;

/**
 * Sorts requests by capture time and numbers them. A request that is more than 10,000 requests late (fewer if they are
 * large) stays late: holding them all could exceed the memory.
 */
export async function* inTimeOrder(items: AsyncIterable<ReadItem>): AsyncGenerator<Imported> {
  let waiting: ReadRequest[] = [];
  let waitingBytes = 0;
  let index = 0;
  for await (const item of items) {
    if (item.kind === "mistake") {
      yield item;
      continue;
    }
    waiting.push(item.request);
    waitingBytes += item.request.body.length;
    if (waiting.length < maxWaiting && waitingBytes < maxWaitingBytes) continue;
    const due = sortByTime(waiting).slice(0, Math.ceil(waiting.length / 2));
    waiting = waiting.slice(due.length);
    waitingBytes = waiting.reduce((bytes, { body }) => bytes + body.length, 0);
    for (const request of due) yield { kind: "request", request: { ...request, index: index++ } };
  }
  for (const request of sortByTime(waiting)) yield { kind: "request", request: { ...request, index: index++ } };
}

/** Requests of the same time keep their order. */
function sortByTime(requests: ReadRequest[]): ReadRequest[] {
  return requests.sort((a, b) => a.capturedAtMs - b.capturedAtMs);
}
