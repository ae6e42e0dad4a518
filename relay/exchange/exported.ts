import type { CapturedRequest } from "../pack/captured-request.ts";
import { isSecret } from "../pack/request-text.ts";

export type ExportFormat = "goreplay" | "har" | "k6" | "curl";

export const exportFormats: readonly ExportFormat[] = ["goreplay", "har", "k6", "curl"];

export interface ExportOptions {
  /** Writes `redacted` as the value of each header whose name says that it holds credentials. */
  readonly redact?: boolean;
  /** The default origin that a script sends to, and the origin of the URLs in a HAR. */
  readonly target?: URL;
  /** Called with every request that the format cannot hold, and the reason. */
  readonly onSkipped?: (request: CapturedRequest, reason: string) => void;
  /** Called with each part of a request that the format cannot hold, although the rest of the request is written. */
  readonly onLost?: (part: string) => void;
}

/** The request to write: the captured one, or a copy with redacted headers. */
export function toExported(request: CapturedRequest, { redact = false }: ExportOptions): CapturedRequest {
  if (!redact) return request;
  const { headers, primary } = request;
  return {
    ...request,
    headers: redactHeaders(headers),
    ...(primary?.headers && { primary: { ...primary, headers: redactHeaders(primary.headers) } }),
  };
}

/** A sentence for the top of a file about the credentials in it. */
export function credentialsNote({ redact = false }: ExportOptions): string {
  return redact
    ? "Headers that hold credentials are redacted; paths and bodies are not."
    : "Contains requests as they were captured, credentials included: protect this file as you protect credentials.";
}

function redactHeaders(headers: readonly string[]): string[] {
  return headers.map((part, i) => (i % 2 === 1 && isSecret(headers[i - 1]) ? "redacted" : part));
}
