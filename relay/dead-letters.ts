import type { CapturedRequest } from "./captured-request.ts";
import { DecodeError } from "./decode-error.ts";
import { readMessage, shareMessage } from "./message.ts";
import { parseSummary } from "./pack-summary.ts";
import type { Delivery, QueueReceiver, QueueSender } from "./queue/port.ts";
import { sendAll } from "./queue/send-all.ts";
import type { Ledger } from "./state/port.ts";

/** A dead letter in words. */
export interface DeadLetterLine {
  readonly messageId: string;
  readonly requests: number;
  readonly reason: string;
  readonly firstCapturedAt: string;
}

export interface Redriven {
  readonly requests: number;
  /** Dead letters that cannot be decoded and stay where they are. */
  readonly undecodable: number;
}

const visibilityMs = 60_000;
// Credentials are not shown: a terminal is recorded, shared and scrolled back.
const secretHeaders: ReadonlySet<string> = new Set(["authorization", "cookie", "proxy-authorization", "x-api-key"]);
const shownBodyBytes = 2_000;

export function describeDeadLetter(letter: {
  readonly messageId: string;
  readonly body: string;
  readonly requests: number;
  readonly reason?: string;
}): DeadLetterLine {
  const summary = parseSummary(letter.body);
  return {
    messageId: letter.messageId,
    requests: letter.requests,
    reason: printable(letter.reason ?? summary?.reason ?? reasonOf(letter.body) ?? "unknown"),
    firstCapturedAt: printable(summary?.first ?? "unknown"),
  };
}

/**
 * Puts dead letters back into the target's queue, where they are paced like all others and begin with their first attempt.
 * With `messageId` only that one. What the ledger says of them is taken back first.
 */
export async function redrive(
  target: string,
  queue: QueueSender,
  deadLetters: QueueReceiver,
  ledger: Ledger,
  messageId: string | undefined,
): Promise<Redriven> {
  const { signal } = new AbortController();
  const keep: string[] = [];
  let requests = 0;
  let undecodable = 0;
  for (;;) {
    const deliveries = await deadLetters.receive({ max: 10, waitMs: 0, visibilityMs, signal });
    if (deliveries.length === 0) break;
    for (const delivery of deliveries) {
      const wanted = messageId === undefined || delivery.messageId === messageId;
      const count = wanted ? await redriveOne(target, queue, deadLetters, ledger, delivery) : 0;
      if (wanted && count === undefined) undecodable++;
      if (count) requests += count;
      else keep.push(delivery.receipt);
    }
  }
  for (const receipt of keep) await deadLetters.extend(receipt, 0);
  return { requests, undecodable };
}

/** A request as text, credentials left out and the body cut after 2,000 bytes. */
export function formatRequest(request: CapturedRequest): string {
  const lines = [`${request.method} ${request.path} HTTP/${request.version || "1.1"}`];
  for (let i = 0; i + 1 < request.headers.length; i += 2) {
    const [name, value] = [request.headers[i], request.headers[i + 1]];
    lines.push(`${name}: ${secretHeaders.has(name.toLowerCase()) ? "…" : value}`);
  }
  const body = Buffer.from(request.body.subarray(0, shownBodyBytes)).toString();
  const more = request.body.length > shownBodyBytes ? ` … ${request.body.length} bytes in all` : "";
  const state = request.bodyState === "complete" ? "" : `(body ${request.bodyState})\n`;
  const head = [`# ${request.id} captured ${new Date(request.capturedAtMs).toISOString()}`, ...lines].map(printable);
  return `${head.join("\n")}\n\n${state}${body.split("\n").map(printable).join("\n")}${more}`;
}

async function redriveOne(
  target: string,
  queue: QueueSender,
  deadLetters: QueueReceiver,
  ledger: Ledger,
  delivery: Delivery,
): Promise<number | undefined> {
  const pack = readMessage(delivery);
  if (pack instanceof DecodeError) return undefined;
  const indexes = pack.requests.map(({ index }) => index);
  // First: with their fate still noted, the replay would take them for done.
  await ledger.unsettle(target, pack.id, indexes, "deadLettered");
  await sendAll(queue, [shareMessage(pack, pack.requests, { attempt: 0 })]);
  await deadLetters.delete([delivery.receipt]);
  return pack.requests.length;
}

// Captured bytes must not steer the terminal of whoever looks at them.
function printable(text: string): string {
  return text.replace(/[^\P{Cc}\t]/gu, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

function reasonOf(body: string): string | undefined {
  try {
    const { reason } = JSON.parse(body) as { reason?: unknown };
    return typeof reason === "string" ? reason : undefined;
  } catch {
    return undefined;
  }
}
