import { createHash, createHmac } from "node:crypto";
import type { ReceivedRequest } from "../servers/shadow-server.ts";

export interface SignatureKeys {
  readonly id: string;
  readonly secret: string;
  readonly sessionToken?: string;
  readonly service: string;
  readonly region: string;
}

/**
 * Returns what is wrong with the signature of a received request, or undefined. Follows "Create a signed AWS API request" in the
 * IAM User Guide step by step from the bytes on the wire, and shares no code with the signer.
 */
export function findSignatureMistake(request: ReceivedRequest, keys: SignatureKeys): string | undefined {
  const { method, path: target, headers, body } = request;
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)$/.exec(
      String(headers.authorization),
    );
  if (!match) return "no signature";
  const [, keyId, day, region, service, signedHeaders, signature] = match;
  const time = String(headers["x-amz-date"]);
  if (keyId !== keys.id || keys.sessionToken !== headers["x-amz-security-token"]) return "other credentials";
  if (region !== keys.region || service !== keys.service || !time.startsWith(day)) return "another scope";
  const signed = signedHeaders.split(";");
  const needed = Object.keys(headers).filter(
    (name) => name === "host" || name === "content-type" || /^x-amz-/.test(name),
  );
  const missing = needed.find((name) => !signed.includes(name));
  if (missing) return `${missing} is not signed`;
  const bodyHash = sha256(body);
  if (headers["x-amz-content-sha256"] !== bodyHash) return "another body";
  const [path, query = ""] = target.split("?");
  const pairs = query.split("&").filter(Boolean);
  const canonical = [
    method,
    service === "s3" ? path : encodedTwice(path),
    pairs
      .map((pair) => (pair.includes("=") ? pair : `${pair}=`))
      .sort(compareBytes)
      .join("&"),
    ...signed.map((name) => `${name}:${String(headers[name]).trim().replaceAll(/ +/g, " ")}`),
    "",
    signedHeaders,
    bodyHash,
  ].join("\n");
  const text = ["AWS4-HMAC-SHA256", time, `${day}/${region}/${service}/aws4_request`, sha256(canonical)].join("\n");
  let key: Buffer = Buffer.from(`AWS4${keys.secret}`);
  for (const part of [day, region, service, "aws4_request"]) key = hmac(key, part);
  return hmac(key, text).toString("hex") === signature ? undefined : `another signature than that of\n${canonical}`;
}

/** Removes empty and dot segments, and encodes each already encoded segment once more. */
function encodedTwice(path: string): string {
  const kept: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "..") kept.pop();
    else if (segment !== "" && segment !== ".") kept.push(segment.replaceAll("%", "%25"));
  }
  return `/${kept.join("/")}${path.endsWith("/") && kept.length > 0 ? "/" : ""}`;
}

/** Sorts by name, then by value. */
function compareBytes(a: string, b: string): number {
  const [[nameA, valueA], [nameB, valueB]] = [a.split("="), b.split("=")];
  if (nameA !== nameB) return nameA < nameB ? -1 : 1;
  return valueA < valueB ? -1 : Number(valueA > valueB);
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function sha256(bytes: string | Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
