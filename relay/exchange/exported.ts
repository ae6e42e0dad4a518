import { isSecret } from "../control/shown-request.ts";
import type { CapturedRequest } from "../pack/captured-request.ts";

export type ExportFormat = "goreplay" | "har" | "k6" | "curl";

export const exportFormats: readonly ExportFormat[] = ["goreplay", "har", "k6", "curl"];

export interface ExportOptions {
  /** Writes `redacted` instead of the values of headers that by their name hold credentials. */
  readonly redact?: boolean;
  /** Origin that a script sends to where it is told no other, and that the URLs of a HAR name. */
  readonly target?: URL;
  /** Is told of every request that the format cannot hold, and why. */
  readonly onSkipped?: (request: CapturedRequest, reason: string) => void;
}

/** What of a request is written: the request itself, or one without its credentials. */
export function toExported(request: CapturedRequest, { redact = false }: ExportOptions): CapturedRequest {
  if (!redact) return request;
  const { headers, primary } = request;
  return {
    ...request,
    headers: redactHeaders(headers),
    ...(primary?.headers && { primary: { ...primary, headers: redactHeaders(primary.headers) } }),
  };
}

/** What a file that people read says of the credentials in it. */
export function credentialsNote({ redact = false }: ExportOptions): string {
  return redact
    ? "Headers that hold credentials are redacted; paths and bodies are not."
    : "Contains requests as they were captured, credentials included: protect this file as you protect credentials.";
}

function redactHeaders(headers: readonly string[]): string[] {
  return headers.map((part, i) => (i % 2 === 1 && isSecret(headers[i - 1]) ? "redacted" : part));
}
