import type { CapturedRequest } from "../pack/captured-request.ts";
import { type Unreplayable, whyUnreplayable } from "../rules/unreplayable.ts";

export const upgradeReason = "a WebSocket or another upgrade";

const reasons: Readonly<Record<Unreplayable, string>> = {
  upgrade: upgradeReason,
  CONNECT: "CONNECT, which opens a tunnel",
  "OPTIONS *": "OPTIONS *, which asks about the server itself",
};

/**
 * The reason why a request cannot be sent to another server; undefined if it can. Imports and exports leave such requests
 * out and count them by this reason: those that are never replayed, those whose answer shows an upgrade, and those whose
 * target is not a path.
 */
export function findObstacle({
  method,
  path,
  headers,
  primary,
}: Pick<CapturedRequest, "method" | "path" | "headers" | "primary">): string | undefined {
  const why = whyUnreplayable({ method, path, headers });
  if (why !== undefined) return reasons[why];
  if (primary?.status === 101) return upgradeReason;
  return path.startsWith("/") ? undefined : "the path does not begin with /";
}
