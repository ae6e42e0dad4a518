import type { AgentConfig } from "../../relay/config/config.ts";

// The traffic that `npm run bench` mirrors, see "What it costs on AWS" in infra/README.md.

/** Of a request, as it is packed. */
export const requestBytes = 1_225;
const compression = 3;
// A mapping waits two seconds for ten packs.
const batchPacks = 10;
const windowSeconds = 2;
const billedBytes = 64 * 1024;

/** Packs on their way into a queue, in the mean of a month. */
export interface Flow {
  readonly requestsPerSecond: number;
  readonly packsPerSecond: number;
}

/**
 * What agents send that take so many requests together. A pack closes when it is full, or `linger` after its first request:
 * few requests a second make small packs, which cost as much as full ones.
 */
export function toFlow(requestsPerSecond: number, { workers, pack, sample }: AgentConfig): Flow {
  const mirrored = requestsPerSecond * sample.fraction;
  const each = mirrored / workers;
  const full = Math.min(pack.requests, pack.bytes / packedBytes(1));
  const packsOfEach = Math.max(each / full, each / (1 + (each * pack.lingerMs) / 1_000));
  return { requestsPerSecond: mirrored, packsPerSecond: packsOfEach * workers };
}

/** The part of a flow that a target or a capture takes, at random: of each pack a smaller one, or none. */
export function toShare({ requestsPerSecond, packsPerSecond }: Flow, fraction: number): Flow {
  const requestsOfPack = packsPerSecond === 0 ? 0 : requestsPerSecond / packsPerSecond;
  return {
    requestsPerSecond: requestsPerSecond * fraction,
    packsPerSecond: packsPerSecond * (1 - (1 - fraction) ** requestsOfPack),
  };
}

/** Of so many requests in packs, on the way and in a capture. */
export function packedBytes(requests: number): number {
  return (requests * requestBytes) / compression;
}

/** Invocations of a function that takes these packs. */
export function batchesPerSecond({ packsPerSecond }: Flow): number {
  return packsPerSecond / Math.min(batchPacks, Math.max(1, packsPerSecond * windowSeconds));
}

/** What SQS bills for sending them, and once more for receiving them. */
export function billedUnits({ requestsPerSecond, packsPerSecond }: Flow): number {
  if (packsPerSecond === 0) return 0;
  return packsPerSecond * Math.max(1, packedBytes(requestsPerSecond / packsPerSecond) / billedBytes);
}
