import {
  type AwsRefusal,
  credentialsAdvice,
  explainRefusal,
  isForbidden,
  isThrottled,
  toRefusal,
} from "../aws/refusal.ts";
import { QueueError, type QueueErrorCode } from "./port.ts";

/** The call that failed, for the text of its error. */
export interface SqsCall {
  /** Name in IAM, such as `SendMessage`. */
  readonly action: string;
  readonly queueUrl: string;
}

/** Converts an error of the SDK into a `QueueError` that says what to do. */
export function toQueueError(error: unknown, call: SqsCall): QueueError {
  const [code, text] = explain(toRefusal(error), call);
  return new QueueError(code, text, { cause: error });
}

/** Converts an entry of `Failed[]` in the same way. */
export function toEntryError(
  entry: { readonly Code?: string | undefined; readonly Message?: string | undefined },
  call: SqsCall,
): QueueError {
  const [code, text] = explain({ code: entry.Code ?? "", text: entry.Message ?? "no reason given", status: 200 }, call);
  return new QueueError(code, text);
}

/** True if the error concerns the whole queue, not one message. */
export function isOutage({ code }: QueueError): boolean {
  return code === "UNAVAILABLE" || code === "DENIED";
}

/** True if a receipt is not, or no longer, the newest of a message in flight. */
export function isStaleReceipt(error: unknown): boolean {
  const { code, text } = toRefusal(error);
  if (/ReceiptHandleIsInvalid|MessageNotInflight/.test(code)) return true;
  return /Invalid(?:Parameter|Attribute)Value/.test(code) && /receipt ?handle/i.test(text);
}

/** True if the queue of the call does not exist. */
export function isMissingQueue({ cause }: QueueError): boolean {
  return missing.test(toRefusal(cause).code);
}

const missing = /QueueDoesNotExist|NonExistentQueue|QueueDeletedRecently|ResourceNotFound|InvalidAddress/;

// The order matters: `KmsThrottled` is throttling, and SQS also uses 403 for throttling.
const rules: readonly {
  readonly code: QueueErrorCode;
  readonly fits: (refusal: AwsRefusal) => boolean;
  readonly advice: (call: SqsCall, refusal: AwsRefusal) => string;
}[] = [
  {
    code: "UNAVAILABLE",
    fits: isThrottled,
    advice: ({ queueUrl }) => `SQS throttles ${queueUrl}: this is temporary`,
  },
  {
    code: "DENIED",
    fits: (refusal) => credentialsAdvice(refusal) !== undefined,
    advice: (_, refusal) => credentialsAdvice(refusal) as string,
  },
  {
    code: "DENIED",
    fits: ({ code }) => /^Kms|^KMS\./.test(code),
    advice: ({ queueUrl }) => `the KMS key of ${queueUrl} cannot be used: check its state and its policy`,
  },
  {
    code: "DENIED",
    fits: isForbidden,
    advice: ({ action, queueUrl }) =>
      `these AWS credentials are not allowed to call sqs:${action} on ${queueUrl}: allow it in their policy`,
  },
  {
    code: "UNAVAILABLE",
    fits: ({ code }) => missing.test(code),
    advice: ({ queueUrl }) => `there is no queue ${queueUrl}: create it, or correct queue: in the configuration`,
  },
  {
    code: "TOO_BIG",
    fits: ({ code, text, status }) => /TooLong/.test(code) || /must be shorter than/.test(text) || status === 413,
    advice: ({ queueUrl }) =>
      `${queueUrl} does not accept a message of this size: raise its MaximumMessageSize to 1 MiB`,
  },
  {
    code: "BAD_ARGUMENT",
    // Only codes of SQS itself. Any other 4xx may come from a proxy and says nothing about the message.
    fits: ({ code }) => /InvalidMessageContents|Invalid(?:Parameter|Attribute)Value|MissingParameter/.test(code),
    advice: ({ action, queueUrl }) => `SQS rejects the content of sqs:${action} on ${queueUrl}`,
  },
  {
    code: "UNAVAILABLE",
    fits: ({ status }) => status === undefined,
    advice: ({ queueUrl }) =>
      `${new URL(queueUrl).host} does not answer: check the network, and the host in queue: of the configuration`,
  },
  {
    code: "UNAVAILABLE",
    fits: () => true,
    advice: ({ action, queueUrl }) => `sqs:${action} on ${queueUrl} failed: this is usually temporary`,
  },
];

function explain(refusal: AwsRefusal, call: SqsCall): [QueueErrorCode, string] {
  const { code, advice } = rules.find(({ fits }) => fits(refusal)) as (typeof rules)[number];
  return [code, explainRefusal(advice(call, refusal), refusal)];
}
