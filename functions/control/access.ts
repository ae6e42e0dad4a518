import { createHash, timingSafeEqual } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";
import type { Config } from "../../relay/config/config.ts";
import { isLoopback } from "../../relay/config/forms.ts";
import { answerProblem } from "./problem.ts";

/** Which calls the control API accepts. */
export type Access =
  /** Calls with the token. */
  | { readonly kind: "token"; readonly token: string }
  /** Calls from this machine, except those of web pages in a browser there. */
  | { readonly kind: "loopback" }
  /** All calls: a unix socket, or IAM on AWS, has checked them. */
  | { readonly kind: "checked" };

/** The access that follows from the configuration, which needs a token if other machines can reach the address. */
export function toAccess({ token, admin }: Pick<Config["host"], "token" | "admin">): Access {
  if (token !== undefined) return { kind: "token", token };
  return { kind: admin.kind === "unix" ? "checked" : "loopback" };
}

// Load balancers and service managers call these, and have no token.
const openPaths: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/v1/health"]);

/** Passes on calls that have access, and answers all others with 401 or 403. */
export function guard(access: Access): MiddlewareHandler {
  return async (context, next) => (openPaths.has(context.req.path) ? next() : (refuse(context, access) ?? next()));
}

function refuse(context: Context, access: Access): Response | undefined {
  const host = context.req.header("host") ?? new URL(context.req.url).host;
  const origin = context.req.header("origin");
  // A browser sends the requests of any page to any address, and names the page's origin.
  if (origin !== undefined && URL.parse(origin)?.host !== host) {
    return answerProblem(context, 403, `web pages of ${origin} are not allowed to call this API`);
  }
  // DNS rebinding: a page can resolve its own name to this machine. Origin and host are then equal, but not localhost.
  if (access.kind === "loopback" && !isLoopback(hostnameOf(host))) {
    return answerProblem(context, 403, `without host.token this API can only be called as localhost, not as ${host}`);
  }
  if (access.kind === "token" && !showsToken(context, access.token)) {
    const detail = "the token is missing or wrong: send host.token of the configuration as Authorization: Bearer TOKEN";
    return answerProblem(context, 401, detail, undefined, { "www-authenticate": 'Bearer realm="spoa-relay"' });
  }
  return undefined;
}

function hostnameOf(host: string): string {
  const hostname = (URL.parse(`http://${host}`)?.hostname ?? "").replace(/^\[|\]$/g, "");
  // URL writes ::ffff:127.0.0.1 as ::ffff:7f00:1.
  return /^::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}$/.test(hostname) ? "127.0.0.1" : hostname;
}

function showsToken(context: Context, token: string): boolean {
  const [, shown] = /^Bearer +(\S+) *$/i.exec(context.req.header("authorization") ?? "") ?? [];
  // Digests have equal lengths, which timingSafeEqual needs; its time does not depend on their contents.
  return shown !== undefined && timingSafeEqual(digest(shown), digest(token));
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
