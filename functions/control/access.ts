import { createHash, timingSafeEqual } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";
import type { Config } from "../../relay/config/config.ts";
import { isLoopback } from "../../relay/config/forms.ts";
import { answerProblem } from "./problem.ts";

/** Who may use the control API. */
export type Access =
  /** Whoever shows the token. */
  | { readonly kind: "token"; readonly token: string }
  /** Whoever is on this machine, but no web page in a browser there. */
  | { readonly kind: "loopback" }
  /** Whoever gets so far: a unix socket or the IAM of AWS has let them in. */
  | { readonly kind: "checked" };

/** What follows from the configuration, which has a token wherever others can reach the address. */
export function toAccess({ token, admin }: Pick<Config["host"], "token" | "admin">): Access {
  if (token !== undefined) return { kind: "token", token };
  return { kind: admin.kind === "unix" ? "checked" : "loopback" };
}

// Load balancers and service managers ask these, and have no token.
const openPaths: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/v1/health"]);

/** Lets only those pass that have access; all others get a 401 or a 403. */
export function guard(access: Access): MiddlewareHandler {
  return async (context, next) => (openPaths.has(context.req.path) ? next() : (refuse(context, access) ?? next()));
}

function refuse(context: Context, access: Access): Response | undefined {
  const host = context.req.header("host") ?? new URL(context.req.url).host;
  const origin = context.req.header("origin");
  // A browser sends requests of any page to any address, and says whose they are.
  if (origin !== undefined && URL.parse(origin)?.host !== host) {
    return answerProblem(context, 403, `pages of ${origin} must not use this API`);
  }
  // A page may give its own name the address of this machine. Then all is of one origin, but the name tells.
  if (access.kind === "loopback" && !isLoopback(hostnameOf(host))) {
    return answerProblem(context, 403, `this API is at localhost; it is not ${host}`);
  }
  if (access.kind === "token" && !showsToken(context, access.token)) {
    const detail = "this needs the token of the configuration, host.token: Authorization: Bearer TOKEN";
    return answerProblem(context, 401, detail, undefined, { "www-authenticate": 'Bearer realm="spoa-relay"' });
  }
  return undefined;
}

function hostnameOf(host: string): string {
  const hostname = (URL.parse(`http://${host}`)?.hostname ?? "").replace(/^\[|\]$/g, "");
  // As URL writes ::ffff:127.0.0.1.
  return /^::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}$/.test(hostname) ? "127.0.0.1" : hostname;
}

function showsToken(context: Context, token: string): boolean {
  const [, shown] = /^Bearer +(\S+) *$/i.exec(context.req.header("authorization") ?? "") ?? [];
  // Digests have one length, and comparing them takes the same time whatever is in them.
  return shown !== undefined && timingSafeEqual(digest(shown), digest(token));
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
