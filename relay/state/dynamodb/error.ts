import {
  type AwsRefusal,
  credentialsAdvice,
  explainRefusal,
  isForbidden,
  isThrottled,
  toRefusal,
} from "../../aws/refusal.ts";
import { StateError } from "../port.ts";

/** The call that failed, for the text of its error. */
export interface DynamoDbCall {
  /** Name in IAM, such as `UpdateItem`. */
  readonly action: string;
  readonly table: string;
  readonly region: string;
}

/** Converts an error of the SDK into a `StateError` that says what to do. */
export function toStateError(error: unknown, call: DynamoDbCall): StateError {
  const refusal = toRefusal(error);
  return new StateError(explainRefusal(advise(refusal, call), refusal), { cause: error });
}

function advise(refusal: AwsRefusal, { action, table, region }: DynamoDbCall): string {
  const { code, status } = refusal;
  const credentials = credentialsAdvice(refusal);
  // The order matters: DynamoDB answers 400 for nearly every error, and a proxy may answer 403.
  if (isThrottled(refusal)) return `DynamoDB throttles table ${table}: bill it by request, or raise its capacity`;
  if (credentials) return credentials;
  if (/ResourceNotFound/.test(code)) return `there is no table ${table} in ${region}: create it, or correct state:`;
  if (/^Kms|^KMS\./.test(code)) return `the KMS key of table ${table} cannot be used: check its state and its policy`;
  if (isForbidden(refusal)) {
    return `these AWS credentials are not allowed to call dynamodb:${action} on table ${table}: allow it in their policy`;
  }
  if (/ValidationException/.test(code) && /exceeded the maximum/.test(refusal.text)) {
    return `an item of table ${table} would be larger than 400 KB: let agents make smaller packs (agent.pack.requests)`;
  }
  if (/ValidationException/.test(code)) {
    return `table ${table} is not a spoa-relay table: its keys must be pk and sk, both strings`;
  }
  if (status === undefined) {
    return `DynamoDB in ${region} does not answer: check the network, and AWS_ENDPOINT_URL_DYNAMODB if it is set`;
  }
  return `dynamodb:${action} on table ${table} failed: this is usually temporary`;
}
