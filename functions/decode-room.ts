import type { ByteAccount } from "../relay/concurrency/byte-budget.ts";
import { announcedBytes } from "../relay/pack/envelope.ts";
import type { Delivery } from "../relay/queue/port.ts";

/**
 * Does the work on a delivery once there is room for its decoded pack, which a few bytes of a queue may turn into 64 MiB. Begins at
 * once, in this very call, if there is room. Resolves with undefined if the signal is aborted first.
 *
 * @param room without it, there is always room
 */
export async function withRoom<T>(
  room: ByteAccount | undefined,
  { pack }: Pick<Delivery, "pack">,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T | undefined> {
  if (!room) return work();
  const bytes = announcedBytes(pack);
  const release = room.tryTake(bytes) ?? (await room.take(bytes, signal).catch(() => undefined));
  if (!release) return undefined;
  try {
    return await work();
  } finally {
    release();
  }
}
