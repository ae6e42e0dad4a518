import type { CapturedRequest } from "../pack/captured-request.ts";
import { withBodyBytes, withoutDigests } from "../redaction/body-headers.ts";
import { maskRequest } from "../redaction/shown-request.ts";
import { redacted } from "../redaction/value-mask.ts";

export type ExportFormat = "goreplay" | "har" | "k6" | "curl";

export const exportFormats: readonly ExportFormat[] = ["goreplay", "har", "k6", "curl"];

export interface ExportOptions {
  /** Writes `redacted` in place of what looks like a secret. */
  readonly redact?: boolean;
  /** The default origin that a script sends to, and the origin of the URLs in a HAR. */
  readonly target?: URL;
  /** Called with every request that the format cannot hold, and the reason. */
  readonly onSkipped?: (request: CapturedRequest, reason: string) => void;
  /** Called with each part of a request that the format cannot hold, although the rest of the request is written. */
  readonly onLost?: (part: string) => void;
}

/** The request to write: the captured one, or a copy without its secrets. A body that cannot be read is left out of the copy. */
export function toExported(request: CapturedRequest, { redact = false, onLost }: ExportOptions): CapturedRequest {
  if (!redact) return request;
  const { hiddenBody, ...masked } = maskRequest(request, redacted);
  if (hiddenBody === undefined) {
    if (Buffer.compare(masked.body, request.body) === 0) return masked;
    const { headers, body, bodyState } = masked;
    return {
      ...masked,
      headers: [...(bodyState === "complete" ? withBodyBytes(headers, body.length) : withoutDigests(headers))],
    };
  }
  onLost?.(`its body, in which secrets cannot be found: ${hiddenBody}`);
  return { ...masked, headers: [...withoutDigests(masked.headers)], bodyState: "omitted" };
}

/** A sentence for the top of a file about the credentials in it. */
export function credentialsNote({ redact = false }: ExportOptions): string {
  return redact
    ? "What looks like a secret is redacted, in headers, paths and bodies. Look at it before you share it."
    : "Contains requests as they were captured, credentials included: protect this file as you protect credentials.";
}
