import { createHash } from "node:crypto";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { sealPack } from "../../../relay/pack/envelope.ts";
import { decodePack } from "../../../relay/pack/pack.ts";
import type { PackSummary } from "../../../relay/pack/summary.ts";
import { PackWriter } from "../../../relay/pack/writer.ts";
import type { OutgoingMessage } from "../../../relay/queue/port.ts";
import { requestDraft } from "./captured-requests.ts";

export interface LargePack {
  readonly agent?: string;
  readonly seed?: number;
  /** Bytes of the body of each request that do not compress, and of zeros behind them. */
  readonly bodies: readonly { readonly random: number; readonly zeros?: number }[];
  readonly method?: string;
}

/** The message of an agent with large requests; its bodies hardly compress. */
export function largeMessage({
  agent = "edge~0badcafe",
  seed = 0,
  bodies,
  method = "POST",
}: LargePack): OutgoingMessage {
  const id = shake(`id ${seed}`, 16);
  const size = bodies.reduce((sum, { random, zeros = 0 }) => sum + random + zeros + 1_000, 1_000);
  const writer = new PackWriter(Buffer.alloc(size), { id, agent, sequence: 1 + seed });
  for (const [i, { random, zeros = 0 }] of bodies.entries()) {
    const body = Buffer.concat([shake(`${seed} ${i}`, random), Buffer.alloc(zeros)]);
    if (!writer.append(requestDraft({ method, path: `/${i}`, id: "", body }))) throw new Error("the pack is full");
  }
  const content = Buffer.from(writer.finish());
  const summary: PackSummary = {
    v: 1,
    pack: id.toString("hex"),
    agent,
    seq: 1 + seed,
    count: writer.count,
    bytes: content.length,
    first: new Date(writer.firstCapturedAtMs).toISOString(),
    last: new Date(writer.lastCapturedAtMs).toISOString(),
  };
  const decoded = decodePack(content);
  if (decoded instanceof DecodeError) throw decoded;
  return { body: JSON.stringify(summary), pack: sealPack(content), requests: writer.count };
}

/** A message with one request that has so many bytes, body and pack together, or nearly so many: compression makes steps. */
export function messageOfBytes(
  bytes: number,
  fields: Omit<LargePack, "bodies"> & { readonly zeros?: number } = {},
): OutgoingMessage {
  const { zeros = 0, ...others } = fields;
  let random = bytes - 1_000;
  let nearest: { readonly message: OutgoingMessage; readonly excess: number } | undefined;
  for (let tries = 0; tries < 10 && nearest?.excess !== 0; tries++) {
    const message = largeMessage({ ...others, bodies: [{ random, zeros }] });
    const excess = Buffer.byteLength(message.body) + message.pack.length - bytes;
    if (!nearest || Math.abs(excess) < Math.abs(nearest.excess)) nearest = { message, excess };
    random -= excess;
  }
  if (!nearest || Math.abs(nearest.excess) > 10_000) throw new Error(`no message with ${bytes} bytes found`);
  return nearest.message;
}

function shake(name: string, bytes: number): Buffer {
  return createHash("shake256", { outputLength: Math.max(1, bytes) })
    .update(name)
    .digest()
    .subarray(0, bytes);
}
