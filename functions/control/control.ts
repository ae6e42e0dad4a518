import { OpenAPIHono } from "@hono/zod-openapi";
import { bodyLimit } from "hono/body-limit";
import { HTTPException } from "hono/http-exception";
import packageJson from "../../package.json" with { type: "json" };
import { QueueError } from "../../relay/queue/port.ts";
import { StateError } from "../../relay/state/port.ts";
import { readHostStats } from "../../relay/stats/host-stats.ts";
import { createAdmin } from "../host/admin.ts";
import { guard } from "./access.ts";
import { addDeadLetterRoutes } from "./dead-letters.ts";
import type { ControlDeps } from "./deps.ts";
import { addFigureRoutes } from "./figures.ts";
import { addLedgerRoute } from "./ledger.ts";
import { answerProblem, Mistake } from "./problem.ts";
import { addTargetRoutes } from "./targets.ts";

const maxBodyBytes = 16_384;

/**
 * Serves the control API under /v1, its OpenAPI document, and the routes of `createAdmin`. Errors are answered as
 * `application/problem+json`; those of /stats and /readyz as text.
 */
export function createControl(deps: ControlDeps): OpenAPIHono {
  const { targets, stores, access, log } = deps;
  const readStats = () => readHostStats(stores, targets);
  const app = new OpenAPIHono({
    defaultHook: (result, context) => {
      if (result.success) return;
      const at = places[result.target] ?? result.target;
      const errors = result.error.issues.map(({ path, message }) => ({
        place: [at, ...path].join("."),
        detail: message,
      }));
      const detail = errors.map((error) => `${error.place}: ${error.detail}`).join("; ");
      return answerProblem(context, 400, detail, errors);
    },
  });
  app.use(guard(access));
  app.use(
    bodyLimit({
      maxSize: maxBodyBytes,
      onError: (context) => answerProblem(context, 413, `the body is larger than ${maxBodyBytes} bytes`),
    }),
  );
  addTargetRoutes(app, deps);
  addFigureRoutes(app, deps);
  addDeadLetterRoutes(app, deps);
  addLedgerRoute(app, (runs) => readHostStats(stores, targets, runs));
  app.route("/", createAdmin(readStats));
  app.openAPIRegistry.registerComponent("securitySchemes", "token", {
    type: "http",
    scheme: "bearer",
    description:
      "host.token of the configuration, or the content of host.tokenFile. On AWS, calls are signed instead (IAM)",
  });
  app.doc31("/openapi.json", {
    openapi: "3.1.0",
    info: {
      title: "spoa-relay",
      version: packageJson.version,
      description: "Targets, ledger, figures and dead letters of a running spoa-relay.",
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
    // Over a unix socket no token is needed, and none for figures on a loopback address.
    security: [{ token: [] }, {}],
  });
  const methodsOf = toMethods(app);
  app.notFound((context) => {
    const { method, path } = context.req;
    const allowed = methodsOf(path);
    if (allowed.length === 0) {
      return answerProblem(context, 404, `there is no route ${path}; /openapi.json lists all routes`);
    }
    const allow = allowed.join(", ");
    return answerProblem(context, 405, `${path} does not take ${method}, but ${allow}`, undefined, { allow });
  });
  app.onError((error, context) => {
    if (error instanceof Mistake)
      return answerProblem(context, 400, error.message, [{ place: error.place, detail: error.detail }]);
    if (error instanceof HTTPException)
      return answerProblem(context, error.status, mistakes[error.status] ?? error.message);
    if (error instanceof StateError || error instanceof QueueError) return answerProblem(context, 503, error.message);
    log.error({ event: "control-failed", path: context.req.path, err: error }, "a call of the control API failed");
    return answerProblem(
      context,
      500,
      "internal error: see the event control-failed in the log of the host or function",
    );
  });
  return app;
}

/** The methods that the routes of an app take for a path; none if no route has this path. */
function toMethods(app: OpenAPIHono): (path: string) => readonly string[] {
  const routes = app.routes.filter(({ method }) => method !== "ALL");
  const patterns = routes.map(({ method, path }) => ({
    method,
    path: new RegExp(`^${path.replace(/:\w+/g, "[^/]+")}$`),
  }));
  return (asked) => {
    const methods = new Set(patterns.filter(({ path }) => path.test(asked)).map(({ method }) => method));
    // The framework answers HEAD as GET, without the body.
    return [...(methods.has("GET") ? ["HEAD"] : []), ...methods].sort();
  };
}

// Replace the framework's own texts.
const mistakes: Readonly<Record<number, string>> = {
  400: "the body is not valid JSON",
  415: "the body must be JSON, with content-type: application/json",
};
const places: Readonly<Record<string, string>> = { json: "body", param: "path" };
