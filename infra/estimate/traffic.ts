import type { AgentConfig } from "../../relay/config/config.ts";

// The traffic that `npm run bench` mirrors, see "What it costs" in infra/README.md.

/** Size of a request in a pack, before compression. */
export const requestBytes = 1_225;
const compression = 3;
// An event source mapping waits up to two seconds for a batch of ten packs.
const batchPacks = 10;
const windowSeconds = 2;
const billedBytes = 64 * 1024;

/** Packs that are sent to a queue, as the average of a month. */
export interface Flow {
  readonly requestsPerSecond: number;
  readonly packsPerSecond: number;
}

/**
 * The packs that agents send if `requestsPerSecond` requests reach all of them together. A pack closes when it is full, or
 * `linger` after its first request: few requests a second make small packs, which cost as much as full ones.
 */
export function toFlow(requestsPerSecond: number, { workers, pack, sample }: AgentConfig): Flow {
  const mirrored = requestsPerSecond * sample.fraction;
  const each = mirrored / workers;
  const full = Math.min(pack.requests, pack.bytes / packedBytes(1));
  const packsOfEach = Math.max(each / full, each / (1 + (each * pack.lingerMs) / 1_000));
  return { requestsPerSecond: mirrored, packsPerSecond: packsOfEach * workers };
}

/** A random sample of a flow, for a target or a capture: each pack becomes a smaller one, or none. */
export function toShare({ requestsPerSecond, packsPerSecond }: Flow, fraction: number): Flow {
  const requestsOfPack = packsPerSecond === 0 ? 0 : requestsPerSecond / packsPerSecond;
  return {
    requestsPerSecond: requestsPerSecond * fraction,
    packsPerSecond: packsPerSecond * (1 - (1 - fraction) ** requestsOfPack),
  };
}

/** Compressed size of these requests, in packs and in captures. */
export function packedBytes(requests: number): number {
  return (requests * requestBytes) / compression;
}

/** Invocations of the function that reads these packs. */
export function batchesPerSecond({ packsPerSecond }: Flow): number {
  return packsPerSecond / Math.min(batchPacks, Math.max(1, packsPerSecond * windowSeconds));
}

/** Requests that SQS bills for sending these packs, and again for receiving them. */
export function billedUnits({ requestsPerSecond, packsPerSecond }: Flow): number {
  if (packsPerSecond === 0) return 0;
  return packsPerSecond * Math.max(1, packedBytes(requestsPerSecond / packsPerSecond) / billedBytes);
}
