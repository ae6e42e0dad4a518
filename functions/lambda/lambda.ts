import { Hono } from "hono";
import { type LambdaContext as HttpContext, type LambdaEvent as HttpEvent, handle } from "hono/aws-lambda";
import { type Logger, Throttle } from "../../relay/log/log.ts";
import type { QueueReceiver } from "../../relay/queue/port.ts";
import type { Invocation } from "../batch.ts";
import { retryDelayMs } from "../retry-delay.ts";
import { parseSqsEvent, type SqsBatchResponse } from "../sqs-event.ts";

/** The part of Lambda's context that `toLambdaHandler` uses. */
export interface LambdaContext {
  getRemainingTimeInMillis(): number;
}

export type LambdaHandler = (event: unknown, context: LambdaContext) => Promise<unknown>;

/** A Hono app. */
interface App {
  fetch(request: Request, bindings: Invocation): Response | Promise<Response>;
}

export interface LambdaOptions {
  readonly log: Logger;
  /**
   * The queue that the batches come from: failed messages become visible again after `retryDelayMs`. Lambda itself would
   * leave them hidden for the queue's visibility timeout, which is several times the function's timeout.
   */
  readonly queue?: Pick<QueueReceiver, "extend">;
  /** How long a request in flight may take to be answered after the last one was sent, in milliseconds. */
  readonly answerWithinMs?: number;
}

type LambdaErrorCode = "UNKNOWN_EVENT" | "NOT_DONE";

/** Fails an invocation: Lambda retries the whole event, as often as it is configured to. */
class LambdaError extends Error {
  readonly code: LambdaErrorCode;

  constructor(code: LambdaErrorCode, message: string) {
    super(message);
    this.name = "LambdaError";
    this.code = code;
  }
}

// Time after the last answer to write outcomes to the ledger and send the rest of a pack back.
const settleMs = 3_000;

/**
 * Converts an app to a Lambda handler. SQS batches and schedule events are sent to the app as POST /; the answer to a batch is
 * returned to Lambda. Requests to a function URL are passed to the app if IAM has checked them.
 *
 * The app's `signal` is aborted `answerWithinMs` + 3 s before Lambda ends the invocation, but not before half of its time has
 * passed. The handler rejects with `LambdaError` for any other event, and if the app does not answer a batch or a schedule
 * with 200.
 */
export function toLambdaHandler(app: App, { log, queue, answerWithinMs = 0 }: LambdaOptions): LambdaHandler {
  const reserveMs = answerWithinMs + settleMs;
  const throttle = new Throttle();
  return async (event, context) => {
    const leftMs = context.getRemainingTimeInMillis();
    if (reserveMs > leftMs / 2) {
      throttle.run(performance.now(), () =>
        log.warn(
          { event: "short-time", timeoutMs: leftMs, neededMs: 2 * reserveMs },
          "the function's timeout is too short, so requests may be sent twice: raise it to neededMs, or lower the target's timeout",
        ),
      );
    }
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), Math.max(leftMs / 2, leftMs - reserveMs));
    try {
      const kind = kindOf(event);
      const invocation = { signal: stop.signal, patient: false };
      if (kind === "request") {
        return isSigned(event) ? await answerRequest(app, event, context, invocation) : notSigned;
      }
      const answer = await post(app, event, invocation);
      if (kind === "schedule") return undefined;
      if (queue) await scheduleRetries(queue, event, answer as SqsBatchResponse, log);
      return answer;
    } finally {
      clearTimeout(timer);
      // Lambda freezes the process once it has the answer: log lines that are not written by then would be late or lost.
      await new Promise<void>((written) => log.flush(() => written()));
    }
  };
}

/** Whether IAM has checked the caller. A function URL with the auth type NONE lets everybody in. */
function isSigned(event: unknown): boolean {
  const { requestContext } = event as AnyEvent;
  return requestContext?.authorizer?.iam !== undefined;
}

const notSigned = {
  statusCode: 403,
  headers: { "content-type": "application/problem+json" },
  body: JSON.stringify({
    type: "about:blank",
    title: "Forbidden",
    status: 403,
    detail: "this function URL accepts unsigned requests: set its auth type to AWS_IAM",
  }),
};

function answerRequest(app: App, event: unknown, context: LambdaContext, invocation: Invocation): Promise<unknown> {
  const bound = new Hono().all("*", ({ req }) => app.fetch(req.raw, invocation));
  return handle(bound)(event as HttpEvent, context as HttpContext);
}

async function post(app: App, event: unknown, invocation: Invocation): Promise<unknown> {
  const headers = { "content-type": "application/json" };
  const request = new Request("http://lambda/", { method: "POST", headers, body: JSON.stringify(event) });
  const response = await app.fetch(request, invocation);
  const text = await response.text();
  if (response.status !== 200) throw new LambdaError("NOT_DONE", `the function answered ${response.status}: ${text}`);
  return JSON.parse(text);
}

/** Schedules the retry of failed messages. Never rejects: otherwise they are visible again after the visibility timeout. */
async function scheduleRetries(
  queue: Pick<QueueReceiver, "extend">,
  event: unknown,
  { batchItemFailures }: SqsBatchResponse,
  log: Logger,
): Promise<void> {
  const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
  const again = failed.size === 0 ? [] : parseSqsEvent(event).filter(({ messageId }) => failed.has(messageId));
  await Promise.all(
    again.map(({ receipt, receiveCount }) =>
      queue.extend(receipt, retryDelayMs(receiveCount)).catch((error: Error) => {
        log.warn(
          { event: "extend-failed", reason: error.message },
          "the retry of a pack could not be scheduled: it stays hidden until the queue's visibility timeout ends",
        );
      }),
    ),
  );
}

type EventKind = "batch" | "schedule" | "request";

interface AnyEvent {
  readonly Records?: readonly { readonly eventSource?: unknown }[];
  readonly source?: unknown;
  readonly "detail-type"?: unknown;
  readonly requestContext?: { readonly http?: unknown; readonly authorizer?: { readonly iam?: unknown } };
}

const scheduleSources: readonly unknown[] = ["aws.events", "aws.scheduler"];

function kindOf(event: unknown): EventKind {
  const { Records: records, source, requestContext, ...rest } = (event ?? {}) as AnyEvent;
  if (Array.isArray(records) && records.every((record) => record?.eventSource === "aws:sqs")) return "batch";
  if (scheduleSources.includes(source) || rest["detail-type"] === "Scheduled Event") return "schedule";
  if (requestContext?.http) return "request";
  // The keys only: the values may be confidential.
  const keys = typeof event === "object" && event !== null ? Object.keys(event).slice(0, 10).join(", ") : typeof event;
  throw new LambdaError(
    "UNKNOWN_EVENT",
    `unknown event: expected one from SQS, a schedule or a function URL; got: ${keys}`,
  );
}
