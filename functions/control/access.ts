import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";
import type { Config } from "../../relay/config/config.ts";
import { isLoopback } from "../../relay/config/forms.ts";
import { TokenFileError, takeTokenFile } from "../../relay/control/token-file.ts";
import { isForeignPage, namesThisMachine } from "../../relay/control/web-page.ts";
import { answerProblem } from "./problem.ts";

/** Which calls the control API accepts. */
export type Access =
  /** Calls with the token. */
  | { readonly kind: "token"; readonly token: string }
  /** Calls from this machine, except those of web pages in a browser there: with the token, or for figures only. */
  | { readonly kind: "local"; readonly token: string }
  /** All calls: a unix socket, or IAM on AWS, has checked them. */
  | { readonly kind: "checked" };

/**
 * The access that follows from the configuration. Creates a missing token file. If its token cannot be used, nobody has the token:
 * that is no reason to stop a host that replays. `onClosed` receives the reason, and what the API still answers.
 */
export function toAccess(
  { token, tokenFile, admin }: Pick<Config["host"], "token" | "tokenFile" | "admin">,
  onClosed: (reason: string, answered: string) => void,
): Access {
  if (token !== undefined) return { kind: "token", token };
  if (tokenFile === undefined) return { kind: "checked" };
  const kind = admin.kind === "tcp" && isLoopback(admin.host) ? "local" : "token";
  try {
    return { kind, token: takeTokenFile(tokenFile) };
  } catch (error) {
    if (!(error instanceof TokenFileError)) throw error;
    onClosed(error.message, kind === "local" ? "figures and health checks" : "health checks");
    return { kind, token: randomBytes(32).toString("base64url") };
  }
}

// Load balancers and service managers call these, and have no token. Their answers if a web page may ask: without a reason.
const openPaths: ReadonlyMap<string, (context: Context) => Response> = new Map<string, (context: Context) => Response>([
  ["/healthz", (context) => context.text("not ready\n", 503)],
  ["/readyz", (context) => context.text("not ready\n", 503)],
  ["/v1/health", (context) => context.json({ ready: false }, 503)],
]);

// They say how many requests there are, and nothing that is in a request. Any local program may read them, like Prometheus.
const figures: readonly RegExp[] = [
  /^\/(?:stats|metrics|warnings|openapi\.json)$/,
  /^\/v1\/(?:ledger|targets(?:\/[^/]+(?:\/figures)?)?)$/,
];

/** Passes on calls that have access, and answers all others with 401 or 403. */
export function guard(access: Access): MiddlewareHandler {
  return async (context, next) => {
    const withoutReason = openPaths.get(context.req.path);
    if (!withoutReason) return refuse(context, access) ?? next();
    await next();
    if (context.res.status === 503 && findForeignCaller(context, access) !== undefined) {
      context.res = withoutReason(context);
    }
    return undefined;
  };
}

/** Why a call that a web page may have sent is refused; undefined for all other calls. */
function findForeignCaller(context: Context, access: Access): string | undefined {
  const host = context.req.header("host") ?? new URL(context.req.url).host;
  const origin = context.req.header("origin");
  if (isForeignPage(origin, host)) return `web pages of ${origin} are not allowed to call this API`;
  if (access.kind !== "local" || namesThisMachine(host)) return undefined;
  return `without host.token this API can only be called as localhost, not as ${host}`;
}

function refuse(context: Context, access: Access): Response | undefined {
  const foreign = findForeignCaller(context, access);
  if (foreign !== undefined) return answerProblem(context, 403, foreign);
  if (access.kind === "local" && isForFigures(context)) return undefined;
  if (access.kind !== "checked" && !showsToken(context, access.token)) {
    const detail =
      "the token is missing or wrong: send the token of the configuration, host.token or the content of host.tokenFile, as Authorization: Bearer TOKEN";
    return answerProblem(context, 401, detail, undefined, { "www-authenticate": 'Bearer realm="spoa-relay"' });
  }
  return undefined;
}

function isForFigures({ req: { method, path } }: Context): boolean {
  return (method === "GET" || method === "HEAD") && figures.some((pattern) => pattern.test(path));
}

function showsToken(context: Context, token: string): boolean {
  const [, shown] = /^Bearer +(\S+) *$/i.exec(context.req.header("authorization") ?? "") ?? [];
  // Digests have equal lengths, which timingSafeEqual needs; its time does not depend on their contents.
  return shown !== undefined && timingSafeEqual(digest(shown), digest(token));
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
