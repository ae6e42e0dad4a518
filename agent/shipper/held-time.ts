import type { PackSummary } from "../../relay/pack/summary.ts";
import { hasBootId, type MachineClock } from "../../relay/process/machine-clock.ts";
import type { OutgoingMessage } from "../../relay/queue/port.ts";

/** When the first request of a pack was captured, and when the pack was closed, by the uptime of the machine. */
export interface CaptureSpan {
  readonly fromMs: number;
  readonly toMs: number;
}

/** A summary on its way to the queue, in memory or in the journal. */
interface WaitingSummary extends PackSummary {
  readonly born?: CaptureSpan & { readonly boot: string };
}

/** The body of a pack that waits: with it, a later run of the agent still knows for how long. */
export function toWaitingBody(summary: PackSummary, span: CaptureSpan | undefined, { boot }: MachineClock): string {
  const waiting: WaitingSummary = { ...summary, ...(span && { born: { boot, ...span } }) };
  return JSON.stringify(waiting);
}

/**
 * The message as it is sent now: its summary says for how long the agent held the requests.
 *
 * @param recovered whether an earlier run of the agent captured them
 */
export function toSentMessage(message: OutgoingMessage, recovered: boolean, machine: MachineClock): OutgoingMessage {
  const { born, ...summary } = JSON.parse(message.body) as WaitingSummary;
  const spans = [
    ...(born && isComparable(born, recovered, machine) ? [sinceBoth(machine.uptimeMs(), born.fromMs, born.toMs)] : []),
    // The machine was started again since, or an older version has left the pack in the journal: by the wall clock, which is at
    // least that of the machine that captured the requests.
    sinceBoth(machine.wallMs(), Date.parse(summary.first), Date.parse(summary.last)),
  ];
  const held = spans.find(([first, last]) => first >= 0 && last >= 0);
  return { ...message, body: JSON.stringify({ ...summary, ...(held && { held }) }) };
}

/** Whether the uptime of the machine is still the one by which the requests were captured. */
function isComparable({ boot }: { readonly boot: string }, recovered: boolean, machine: MachineClock): boolean {
  return boot === machine.boot && (hasBootId(machine) || !recovered);
}

function sinceBoth(nowMs: number, firstMs: number, lastMs: number): readonly [number, number] {
  return [Math.floor(nowMs - firstMs), Math.floor(nowMs - lastMs)];
}
