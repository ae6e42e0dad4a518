import type { SecretPlace } from "../config/deployment.ts";
import { credentialsAdvice, explainRefusal, isForbidden } from "./refusal.ts";
import { signRequest } from "./signature.ts";

/** A secret cannot be read. The message names the secret, and never its value. */
export class SecretError extends Error {
  readonly code = "SECRET_UNAVAILABLE";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "SecretError";
  }
}

export interface SecretsManagerPlace {
  /** Of secrets that are named without an ARN. */
  readonly region: string;
  /** In place of AWS's own endpoint. */
  readonly endpoint?: string | undefined;
}

const answerWithinMs = 5_000;
// A secret has at most 65,536 bytes.
const mostBytes = 1_000_000;

/** Reads the current value of a secret, or of one field of its JSON. Rejects with `SecretError`. */
export async function readSecret(
  { id, field }: SecretPlace,
  { region, endpoint }: SecretsManagerPlace,
  withinMs = answerWithinMs,
): Promise<string> {
  const where = id.startsWith("arn:") ? id.split(":")[3] : region;
  const suffix = where.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  const url = new URL("/", endpoint ?? `https://secretsmanager.${where}.${suffix}`);
  const fail = (reason: string, cause?: unknown) => {
    throw new SecretError(`the secret ${id} cannot be read: ${reason}`, { cause });
  };
  // Specification: AWS JSON 1.1, https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
  const body = JSON.stringify({ SecretId: id });
  const headers = { "content-type": "application/x-amz-json-1.1", "x-amz-target": "secretsmanager.GetSecretValue" };
  let status = 0;
  let text = "";
  try {
    const signed = await signRequest({ method: "POST", url, headers, body }, where, "secretsmanager");
    const answer = await fetch(url, {
      method: "POST",
      headers: signed,
      body,
      redirect: "error",
      signal: AbortSignal.timeout(withinMs),
    });
    status = answer.status;
    text = await answer.text();
  } catch (error) {
    const { name, message, cause } = error as Error & { readonly cause?: Error };
    const late = name === "TimeoutError";
    fail(late ? `no answer from ${url.host} within ${withinMs / 1_000} s` : (cause?.message ?? message), error);
  }
  const answer = text.length > mostBytes ? undefined : parseObject(text);
  if (status !== 200) {
    const code = String(answer?.__type ?? "Error").replace(/^.*#/, "");
    const refusal = { code, text: String(answer?.message ?? answer?.Message ?? "no reason given"), status };
    fail(explainRefusal(credentialsAdvice(refusal) ?? adviceFor(refusal), refusal));
  }
  const value = answer?.SecretString;
  if (typeof value !== "string") return fail("it is binary, or the answer is not one of Secrets Manager");
  if (field === undefined) return value;
  const fields = parseObject(value);
  if (!fields) return fail(`it is not a JSON object, so it has no field ${field}`);
  const part = Object.hasOwn(fields, field) ? fields[field] : undefined;
  if (typeof part === "string") return part;
  if (typeof part === "number" || typeof part === "boolean") return String(part);
  return fail(part === undefined ? `it has no field ${field}` : `its field ${field} is not a text`);
}

function adviceFor(refusal: Parameters<typeof isForbidden>[0]): string {
  if (isForbidden(refusal)) {
    return "the role needs secretsmanager:GetSecretValue on it, and kms:Decrypt if it has a key of its own";
  }
  if (refusal.code === "ResourceNotFoundException") return "there is no such secret in this account and region";
  return "Secrets Manager refuses the call";
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}
