import { type CapturedRequest, cookieOf, headerOf } from "../pack/captured-request.ts";

/** Where to find the key of a request: in a header, a cookie or the client's address. */
export type RequestKey =
  | { readonly by: "header"; readonly name: string }
  | { readonly by: "cookie"; readonly name: string }
  | { readonly by: "src" };

/** The key of a request; undefined if it has none or an empty one. */
export function keyOf(key: RequestKey, request: Pick<CapturedRequest, "headers" | "src">): string | undefined {
  if (key.by === "src") return request.src || undefined;
  if (key.by === "cookie") return cookieOf(request.headers, key.name) || undefined;
  return headerOf(request.headers, key.name) || undefined;
}
