import { type CapturedRequest, headerOf } from "../pack/captured-request.ts";
import type { Pattern } from "./pattern.ts";

/** A condition on a request: every given part must match. */
export interface When {
  readonly methods?: readonly string[];
  /** Matched against path and query. */
  readonly path?: Pattern;
  /** Keyed by lower-case name. A missing header does not match. */
  readonly headers?: Readonly<Record<string, Pattern>>;
}

export function matches(when: When, request: Pick<CapturedRequest, "method" | "path" | "headers">): boolean {
  if (when.methods && !when.methods.includes(request.method)) return false;
  if (when.path && !when.path.test(request.path)) return false;
  if (when.headers) {
    for (const name of Object.keys(when.headers)) {
      const value = headerOf(request.headers, name);
      if (value === undefined || !when.headers[name].test(value)) return false;
    }
  }
  return true;
}
