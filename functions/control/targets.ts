import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { HTTPException } from "hono/http-exception";
import type { TargetConfig } from "../../relay/config/config.ts";
import type { LiveSetting, TargetAnswer } from "../../relay/control/answers.ts";
import type { Controls } from "../../relay/state/port.ts";
import { changeSettings, type TargetSettings } from "../../relay/state/target-control.ts";
import { type HostStats, readHostStats, type TargetStats } from "../../relay/stats/host-stats.ts";
import { toAmount } from "../../relay/stats/warnings.ts";
import type { ControlDeps } from "./deps.ts";
import { fatesSchema } from "./ledger.ts";
import { problemResponses } from "./problem.ts";
import { amountSchema, json } from "./schema.ts";
import { formatRate, formatShare, settingsChange, toSettings } from "./settings.ts";

/** Adds the routes under /v1/targets, except the figures: configured and live settings, and changes of them. */
export function addTargetRoutes(app: OpenAPIHono, { targets, stores, log }: ControlDeps): void {
  const answer = async (target: TargetConfig) =>
    toAnswer(target, (await readHostStats(stores, [target])).targets[target.name]);
  const change = async (name: string, settings: Change): Promise<TargetAnswer> => {
    const target = findTarget(targets, name);
    await writeSettings(stores.state.controls, name, settings);
    log.info({ event: "target-changed", target: name, settings }, "a target was changed");
    try {
      return await answer(target);
    } catch (cause) {
      const message = `${name} was changed, but its state cannot be read now: ${(cause as Error).message}`;
      throw new HTTPException(503, { message, cause });
    }
  };
  app.openapi(listTargets, async (context) => {
    const stats: HostStats = await readHostStats(stores, targets);
    return context.json({ targets: targets.map((target) => toAnswer(target, stats.targets[target.name])) }, 200);
  });
  app.openapi(getTarget, async (context) =>
    context.json(await answer(findTarget(targets, context.req.valid("param").target)), 200),
  );
  app.openapi(patchTarget, async (context) =>
    context.json(await change(context.req.valid("param").target, toSettings(context.req.valid("json"))), 200),
  );
  app.openapi(pauseTarget, async (context) =>
    context.json(await change(context.req.valid("param").target, { paused: true }), 200),
  );
  app.openapi(resumeTarget, async (context) =>
    context.json(await change(context.req.valid("param").target, { paused: null }), 200),
  );
}

/** The target of this name. Throws a 404 that names the targets of the configuration. */
export function findTarget(targets: readonly TargetConfig[], name: string): TargetConfig {
  const target = targets.find((one) => one.name === name);
  if (target) return target;
  const names = targets.map((one) => one.name).join(", ") || "no targets";
  throw new HTTPException(404, { message: `there is no target ${name}; the configuration has: ${names}` });
}

export const targetParam = z.object({
  target: z
    .string()
    .openapi({ param: { description: "Name of the target in the configuration" }, examples: ["staging"] }),
});

type Change = { readonly [Key in keyof TargetSettings]?: TargetSettings[Key] | null };

// Workers write the same control when a shadow fails or asks to slow down, so a write may be refused a few times.
const writeAttempts = 20;

async function writeSettings(controls: Controls, target: string, change: Change): Promise<void> {
  for (let attempt = 0; attempt < writeAttempts; attempt++) {
    const { control, version } = await controls.read(target);
    if (await controls.write(target, changeSettings(control, change), version)) return;
  }
  throw new HTTPException(503, {
    message: `others are changing ${target} at the same time: nothing was changed; try again`,
  });
}

function toAnswer(target: TargetConfig, stats: TargetStats): TargetAnswer {
  const { live, control, held, messages, inQueue, deadMessages, inDeadLetters, problem, enqueued, fates } = stats;
  const { breaker } = control;
  return {
    name: target.name,
    url: target.url.origin,
    rate: setting(formatRate(target.ratePerSecond), formatRate(live.ratePerSecond)),
    concurrency: setting(target.concurrency, live.concurrency),
    sample: setting(formatShare(target.sample.fraction), formatShare(live.sample)),
    paused: control.settings?.paused === true,
    window: target.windows.map(({ text }) => text),
    blackout: target.blackouts.map(({ text }) => text),
    ...(held !== undefined && { held }),
    ...(breaker && {
      breaker: {
        openedAt: new Date(breaker.openedAtMs).toISOString(),
        probeAt: new Date(breaker.probeAtMs).toISOString(),
        probes: breaker.probes,
        reason: breaker.reason,
      },
    }),
    pace: live.paceFactor,
    ...(target.credentialsFor && { credentialsFor: target.credentialsFor }),
    waiting: toAmount(messages, inQueue),
    deadLetters: toAmount(deadMessages, inDeadLetters),
    ...(problem !== undefined && { problem }),
    enqueued,
    fates,
  };
}

function setting<T>(configured: T, live: T): LiveSetting<T> {
  return { configured, live };
}

const text = z.object({ configured: z.string(), live: z.string() });
const targetSchema = z
  .object({
    name: z.string(),
    url: z.string(),
    rate: text.meta({ examples: [{ configured: "200/s", live: "100/s" }] }),
    concurrency: z.object({ configured: z.int(), live: z.int() }),
    sample: text.meta({ examples: [{ configured: "100%", live: "50%" }] }),
    paused: z.boolean(),
    window: z.array(z.string()).readonly().describe("Times within which requests are sent; empty for all times"),
    blackout: z.array(z.string()).readonly().describe("Times within which no requests are sent"),
    held: z.string().optional().describe("Why nothing is sent now; absent if requests are sent"),
    breaker: z
      .object({ openedAt: z.iso.datetime(), probeAt: z.iso.datetime(), probes: z.int(), reason: z.string() })
      .optional()
      .describe("Present while the breaker is open, when nothing but probes is sent"),
    pace: z
      .number()
      .describe("Share of the rate at which requests are sent, 1/64 to 1: below 1 if the shadow asked to slow down"),
    credentialsFor: z
      .enum(["captured", "all"])
      .optional()
      .describe("Which requests get the target's token and signature; absent if it has neither"),
    waiting: amountSchema,
    deadLetters: amountSchema,
    problem: z.string().optional().describe("Why the queue does not answer"),
    enqueued: z.int().describe("Requests fanned out while this target was configured"),
    fates: fatesSchema,
  })
  .openapi("Target");

const listTargets = createRoute({
  method: "get",
  path: "/v1/targets",
  summary: "All targets",
  responses: {
    200: json(z.object({ targets: z.array(targetSchema) }), "In the order of the configuration"),
    ...problemResponses(401, 403, 503),
  },
});

const getTarget = createRoute({
  method: "get",
  path: "/v1/targets/{target}",
  summary: "A target: its configured and live settings, waiting requests and dead letters",
  request: { params: targetParam },
  responses: { 200: json(targetSchema, "The target"), ...problemResponses(401, 403, 404, 503) },
});

const patchTarget = createRoute({
  method: "patch",
  path: "/v1/targets/{target}",
  summary: "Changes a target while it runs; all workers follow within two seconds",
  request: {
    params: targetParam,
    body: { required: true, content: { "application/json": { schema: settingsChange } } },
  },
  responses: {
    200: json(targetSchema, "The target after the change"),
    ...problemResponses(400, 401, 403, 404, 413, 415, 503),
  },
});

const pauseTarget = createRoute({
  method: "post",
  path: "/v1/targets/{target}/pause",
  summary: "Pauses a target: nothing is sent, and its requests wait in its queue",
  request: { params: targetParam },
  responses: { 200: json(targetSchema, "The target after the change"), ...problemResponses(401, 403, 404, 503) },
});

const resumeTarget = createRoute({
  method: "post",
  path: "/v1/targets/{target}/resume",
  summary: "Resumes a paused target; window, blackout and breaker still apply",
  request: { params: targetParam },
  responses: { 200: json(targetSchema, "The target after the change"), ...problemResponses(401, 403, 404, 503) },
});
