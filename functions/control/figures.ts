import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { answerClasses, type FiguresAnswer, type MinuteCounts } from "../../relay/control/answers.ts";
import { percentiles, type TimeSeries } from "../../relay/replay/latency-histogram.ts";
import type { MinuteFigures } from "../../relay/state/port.ts";
import type { ControlDeps } from "./deps.ts";
import { problemResponses } from "./problem.ts";
import { json, strict, wholeNumber } from "./schema.ts";
import { findTarget, targetParam } from "./targets.ts";

/** Adds GET /v1/targets/{target}/figures: counts and percentiles by minute. */
export function addFigureRoutes(app: OpenAPIHono, { targets, stores, now = Date.now }: ControlDeps): void {
  app.openapi(getFigures, async (context) => {
    const { name } = findTarget(targets, context.req.valid("param").target);
    const untilMs = now();
    const fromMs = (Math.floor(untilMs / minuteMs) + 1 - context.req.valid("query").minutes) * minuteMs;
    return context.json(toFigures(name, await stores.state.figures.read(name, fromMs, untilMs), fromMs, untilMs), 200);
  });
}

const minuteMs = 60_000;
// Figures are kept for 14 days.
const maxMinutes = 14 * 1_440;
const counters = [
  "undelivered",
  "closed",
  "timedOut",
  "deadLettered",
  "expired",
  "skipped",
  "filtered",
  "sampledOut",
] as const;

function toFigures(target: string, minutes: readonly MinuteFigures[], fromMs: number, untilMs: number): FiguresAnswer {
  const total = new Map<string, number>();
  for (const { counts } of minutes) {
    for (const [name, count] of counts) total.set(name, (total.get(name) ?? 0) + count);
  }
  return {
    target,
    from: new Date(fromMs).toISOString(),
    until: new Date(untilMs).toISOString(),
    total: toCounts(total),
    minutes: minutes.map(({ minuteMs: atMs, counts }) => ({ at: new Date(atMs).toISOString(), ...toCounts(counts) })),
  };
}

function toCounts(counts: ReadonlyMap<string, number>): MinuteCounts {
  const answered = answerClasses.map((name) => [name, counts.get(`answered.${name}`) ?? 0]);
  return {
    answered: Object.fromEntries(answered) as MinuteCounts["answered"],
    ...(Object.fromEntries(counters.map((name) => [name, counts.get(name) ?? 0])) as Record<
      (typeof counters)[number],
      number
    >),
    expiredCredentials: counts.get("answered.expired") ?? 0,
    withoutCredentials: counts.get("answered.anonymous") ?? 0,
    ...toTimes("latencyMs", "latency", counts),
    ...toTimes("shadowMs", "firstByte", counts),
    ...toTimes("networkMs", "connect", counts),
    ...toTimes("ageMs", "age", counts),
  };
}

type Times = "latencyMs" | "shadowMs" | "networkMs" | "ageMs";

function toTimes(name: Times, series: TimeSeries, counts: ReadonlyMap<string, number>): Pick<MinuteCounts, Times> {
  const [p50, p90, p99] = percentiles(counts, [0.5, 0.9, 0.99], series);
  return p50 !== undefined && p90 !== undefined && p99 !== undefined ? { [name]: { p50, p90, p99 } } : {};
}

function times(description: string) {
  return z
    .object({ p50: z.number(), p90: z.number(), p99: z.number() })
    .optional()
    .describe(`${description}; in milliseconds, accurate to 5 %, absent if there were none`);
}

const counted = {
  answered: z
    .object({
      "1xx": z.int(),
      "2xx": z.int(),
      "3xx": z.int(),
      "4xx": z.int(),
      "5xx": z.int(),
      malformed: z.int().describe("Answers that are not HTTP; their requests are not sent again"),
    })
    .describe("Answers by class of status code"),
  undelivered: z.int().describe("Attempts that the shadow has not acted on: not reached, or asked to retry later"),
  closed: z.int().describe("Attempts whose connection ended after the request was written and before it was answered"),
  timedOut: z.int().describe("Attempts without an answer within the target's timeout"),
  deadLettered: z.int().describe("Requests that became dead letters"),
  expired: z.int().describe("Requests that became too old to be sent"),
  skipped: z.int().describe("Requests that cannot be sent, such as those with an incomplete body"),
  filtered: z.int().describe("Requests that the target's condition (when) excludes"),
  sampledOut: z.int().describe("Requests outside of the target's sample"),
  expiredCredentials: z
    .int()
    .describe("Among the 4xx: answers 401 or 403 to requests that were sent with their captured credentials"),
  withoutCredentials: z
    .int()
    .describe("Among the answers: to requests without the target's token and signature, captured without credentials"),
  latencyMs: times("Of answers, from the moment the request could be sent to the end of the answer"),
  shadowMs: times("Of answers, from the moment the request was written to the headers of the answer"),
  networkMs: times("Time that it took to open connections"),
  ageMs: times("Age of the answered requests when they were sent, since their capture"),
};

const getFigures = createRoute({
  method: "get",
  path: "/v1/targets/{target}/figures",
  summary: "Fates of requests and failed attempts, by minute",
  request: {
    params: targetParam,
    query: strict({
      minutes: wholeNumber({
        least: 1,
        most: maxMinutes,
        otherwise: 60,
        description: "Number of minutes up to now, including the current one",
      }),
    }),
  },
  responses: {
    200: json(
      z
        .object({
          target: z.string(),
          from: z.iso.datetime(),
          until: z.iso.datetime(),
          total: z.object(counted),
          minutes: z.array(z.object({ at: z.iso.datetime(), ...counted })).readonly(),
        })
        .openapi("Figures"),
      "Approximate, unlike the ledger; minutes in which nothing was counted are left out",
    ),
    ...problemResponses(400, 401, 403, 404, 503),
  },
});
