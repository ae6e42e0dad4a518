import { type Imported, memoryBytes, type ReadItem } from "./imported.ts";
import type { RequestIds } from "./request-ids.ts";

type RequestItem = Extract<ReadItem, { readonly kind: "request" }>;

// Files are not sorted by time: a server logs a request after its response, and a browser lists requests as it starts
// them.
const maxWaiting = 20_000;
const maxWaitingBytes = 64 * 1024 * 1024;

/**
 * Sorts requests by capture time, gives them their ids and numbers them. A request that is more than 10,000 requests late
 * (fewer if they are large) stays late: holding them all could exceed the memory.
 */
export async function* inTimeOrder(
  items: AsyncIterable<ReadItem>,
  toIds: (request: RequestItem["request"]) => RequestIds,
): AsyncGenerator<Imported> {
  let waiting: (RequestItem & RequestIds)[] = [];
  let waitingBytes = 0;
  let index = 0;
  for await (const item of items) {
    if (item.kind !== "request") {
      yield item;
      continue;
    }
    waiting.push({ ...item, ...toIds(item.request) });
    waitingBytes += memoryBytes(item.request);
    if (waiting.length < maxWaiting && waitingBytes < maxWaitingBytes) continue;
    const due = sortByTime(waiting).slice(0, Math.ceil(waiting.length / 2));
    waiting = waiting.slice(due.length);
    waitingBytes = waiting.reduce((bytes, { request }) => bytes + memoryBytes(request), 0);
    for (const entry of due) yield number(entry, index++);
  }
  for (const entry of sortByTime(waiting)) yield number(entry, index++);
}

function number({ request, id, otherId }: RequestItem & RequestIds, index: number): Imported {
  return { kind: "request", request: { ...request, id, index }, ...(otherId !== undefined && { otherId }) };
}

/** Requests of the same time keep their order. */
function sortByTime<T extends RequestItem>(entries: T[]): T[] {
  return entries.sort((a, b) => a.request.capturedAtMs - b.request.capturedAtMs);
}
