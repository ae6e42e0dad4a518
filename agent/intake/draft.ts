import { emptySpan } from "../../relay/pack/span.ts";
import type { RequestDraft } from "../../relay/pack/writer.ts";

/** A draft without a request, to be filled and reused. */
export function createDraft(): RequestDraft {
  return {
    capturedAtMs: 0,
    bodyState: "complete",
    id: emptySpan(),
    method: emptySpan(),
    path: emptySpan(),
    version: emptySpan(),
    src: emptySpan(),
    srcIsAddress: false,
    headers: emptySpan(),
    body: emptySpan(),
    hasPrimary: false,
    primaryStatus: -1,
    primaryTimeMs: -1,
    primaryBytes: -1,
    primaryDigest: emptySpan(),
    hasPrimaryHeaders: false,
    primaryHeaders: emptySpan(),
  };
}
