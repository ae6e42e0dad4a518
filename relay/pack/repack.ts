import { ByteReader } from "./byte-reader.ts";
import type { Pack, PackedRequest } from "./pack.ts";
import { maxVarintBytes, varintBytes, writeVarint } from "./varint.ts";
import { type PackIdentity, packContentVersion } from "./writer.ts";

/**
 * Makes a new pack from at least one request, ordered by capture time, of any packs. The requests receive the indexes 0, 1,
 * 2, … and keep everything else, including their ids.
 */
export function repack({ id, agent, sequence }: PackIdentity, requests: readonly PackedRequest[]): Pack {
  const firstMs = requests[0].capturedAtMs;
  const head = Buffer.alloc(2 + id.length + 6);
  head[0] = packContentVersion;
  head.set(id, 2);
  head.writeUIntBE(firstMs, 2 + id.length, 6);
  const origin = Buffer.alloc(2 * maxVarintBytes + agent.length);
  let at = writeVarint(origin, 0, sequence);
  at = writeVarint(origin, at, agent.length);
  at += origin.write(agent, at, "latin1");
  return {
    id: Buffer.from(id).toString("hex"),
    agent,
    sequence,
    attempt: 0,
    head,
    origin: origin.subarray(0, at),
    requests: requests.map((request, index) => ({
      ...request,
      index,
      record: toRecord(request, index, request.capturedAtMs - firstMs),
    })),
  };
}

/**
 * Copies the request's record with a new index and time. Writes the id into it, because the id may come from the old
 * pack.
 */
function toRecord({ record, id }: PackedRequest, index: number, sinceFirstMs: number): Buffer {
  const reader = new ByteReader(record);
  const flags = reader.u8();
  reader.varint();
  reader.varint();
  reader.block();
  const rest = record.subarray(reader.offset);
  const bytes = 1 + varintBytes(index) + varintBytes(sinceFirstMs) + varintBytes(id.length) + id.length + rest.length;
  const copy = Buffer.allocUnsafe(bytes);
  copy[0] = flags;
  let at = writeVarint(copy, 1, index);
  at = writeVarint(copy, at, sinceFirstMs);
  at = writeVarint(copy, at, id.length);
  at += copy.write(id, at, "latin1");
  copy.set(rest, at);
  return copy;
}
