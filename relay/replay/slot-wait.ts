import { setTimeout as sleep } from "node:timers/promises";
import type { Lane } from "./lane.ts";
import type { Admission } from "./live-target.ts";

// Interval at which the state of a held target is checked.
const heldPollMs = 200;

/**
 * Waits until the target of the lane may be sent one request: it is not held, it has fresh credentials if it needs any, and the
 * slot is due. Undefined if the target is held or has no credentials and `patient` is false. Rejects if the signal is
 * aborted or no slots can be had.
 */
export async function waitForSlot(
  { live, pacer, credentials, permits }: Lane,
  signal: AbortSignal,
  patient: boolean,
): Promise<Admission | undefined> {
  for (;;) {
    while (!live.open) {
      const admission = await live.admit();
      if (admission === "wait") {
        if (!patient) return undefined;
        await sleep(heldPollMs, undefined, { signal });
        continue;
      }
      if (credentials && !credentials.fresh && !(await credentials.ready(signal, patient))) return undefined;
      if (admission === "probe") {
        await pacer.acquire(signal, permits);
        return admission;
      }
      break;
    }
    if (credentials && !credentials.fresh) {
      if (!(await credentials.ready(signal, patient))) return undefined;
      // The target may be held by now.
      continue;
    }
    if (!pacer.unlimited) await pacer.acquire(signal, permits);
    // The target was paused while the request waited for its slot: the slot is given up.
    if (live.held !== undefined) continue;
    if (!credentials || credentials.fresh) return "send";
    // The credentials have expired meanwhile. The slots that pass until they are renewed are given up, so that no burst
    // follows. At one request a second or less, the request is sent late instead: its next slot may be far away.
    if (live.ratePerSecond <= 1) return (await credentials.ready(signal, patient)) ? "send" : undefined;
  }
}
