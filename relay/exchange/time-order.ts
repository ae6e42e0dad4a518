import type { Imported, ReadItem, ReadRequest } from "./imported.ts";

// A server logs a request when it has answered it, and a browser lists those that it knew first: some have overtaken others.
const maxWaiting = 20_000;
const maxWaitingBytes = 64 * 1024 * 1024;

/**
 * Puts requests into the order of their capture times and numbers them. One that is more than 10,000 requests late (fewer
 * where they are large) stays late: all of them in memory is no choice.
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

/** Those of the same time keep their order. */
function sortByTime(requests: ReadRequest[]): ReadRequest[] {
  return requests.sort((a, b) => a.capturedAtMs - b.capturedAtMs);
}
