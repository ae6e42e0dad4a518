import {
  type AwsRefusal,
  credentialsAdvice,
  explainRefusal,
  isForbidden,
  isThrottled,
  toRefusal,
} from "../aws/refusal.ts";
import { ArchiveError, type ArchiveErrorCode } from "./port.ts";

/** The call that failed, for the text of its error. */
export interface S3Call {
  /** Name in IAM, such as `PutObject`. */
  readonly action: string;
  readonly bucket: string;
}

/** Converts an error of the SDK into an `ArchiveError` that says what to do. */
export function toS3Error(error: unknown, call: S3Call): ArchiveError {
  const refusal = toRefusal(error);
  const [code, advice] = advise(refusal, call);
  return new ArchiveError(code, explainRefusal(advice, refusal), { cause: error });
}

/** Whether the bucket exists but has no object of that name. */
export function isMissingKey(error: unknown): boolean {
  return toRefusal(error).code === "NoSuchKey";
}

/** Whether S3 refused a put because the object exists, or because another put of it is in progress. */
export function isTaken(error: unknown): boolean {
  const { code, status } = toRefusal(error);
  return status === 412 || code === "PreconditionFailed" || code === "ConditionalRequestConflict";
}

function advise(refusal: AwsRefusal, { action, bucket }: S3Call): [ArchiveErrorCode, string] {
  const { code, status } = refusal;
  const credentials = credentialsAdvice(refusal);
  // The order matters: S3 also answers 403 for reasons that are not about policies.
  if (isThrottled(refusal)) return ["UNAVAILABLE", `S3 throttles bucket ${bucket}: this is temporary, try again later`];
  if (credentials) return ["DENIED", credentials];
  if (/NoSuchBucket/.test(code)) {
    return ["UNAVAILABLE", `there is no bucket ${bucket}: create it, or correct its name in captures:`];
  }
  if (/PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint/.test(code)) {
    return ["UNAVAILABLE", `bucket ${bucket} is in another region: correct the region in captures:`];
  }
  if (/^Kms|^KMS\./.test(code)) {
    return ["DENIED", `the KMS key of bucket ${bucket} cannot be used: check its state and its policy`];
  }
  if (isForbidden(refusal)) {
    return [
      "DENIED",
      `these AWS credentials are not allowed to call s3:${action} on bucket ${bucket}: allow it in their policy`,
    ];
  }
  if (code === "EntityTooLarge" || status === 413) return ["TOO_BIG", "S3 does not accept an object of this size"];
  if (status === undefined) {
    return ["UNAVAILABLE", "S3 does not answer: check the network, and AWS_ENDPOINT_URL_S3 if it is set"];
  }
  return ["UNAVAILABLE", `s3:${action} on bucket ${bucket} failed: this is usually temporary, try again later`];
}
