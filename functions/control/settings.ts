import { z } from "@hono/zod-openapi";
import { bounds } from "../../relay/config/bounds.ts";
import { explainRate, explainShare, parseFraction, parseRatePerSecond } from "../../relay/config/units.ts";
import type { TargetSettings } from "../../relay/state/target-control.ts";
import { strict } from "./schema.ts";

/**
 * A text in the form of the configuration. It is only checked here; `toSettings` converts it.
 *
 * @param explain says what is wrong with a text; undefined if it is valid
 */
function written(explain: (text: string) => string | undefined, form: string, examples: string[]) {
  return z
    .string({
      error: ({ input }) =>
        (typeof input === "number" && explain(`${input}`)) ||
        `must be ${form}, such as ${examples.join(" or ")}, or null`,
    })
    .refine((text) => explain(text) === undefined, { error: ({ input }) => explain(String(input)) })
    .meta({ examples });
}

const { concurrency } = bounds;

const settings = {
  rate: written(explainRate, "a rate", ["200/s", "30/min", "unlimited"])
    .nullable()
    .optional()
    .describe("Highest rate at which requests are sent; null for the configured one"),
  concurrency: z
    .int({ error: "must be a whole number, or null" })
    .min(concurrency.least, { error: `must be from ${concurrency.least} to ${concurrency.most}` })
    .max(concurrency.most, { error: `must be from ${concurrency.least} to ${concurrency.most}` })
    .nullable()
    .optional()
    .describe("Concurrent requests of each replay process; null for the configured number"),
  sample: written(explainShare, "a percentage from 0% to 100%", ["50%", "0.5%"])
    .nullable()
    .optional()
    .describe("Share of the requests that is replayed; null for the configured one"),
  paused: z.boolean({ error: "must be true or false" }).optional().describe("true: nothing is sent, and requests wait"),
};

/** The body of `PATCH /v1/targets/{target}`; null returns a setting to the configured value. */
export const settingsChange = strict(settings)
  .refine((change) => Object.keys(change).length > 0, {
    error: `has no setting to change; give at least one of ${Object.keys(settings).join(", ")}`,
    // An unknown key is reported as a mistake of its own.
    when: ({ issues }) => issues.length === 0,
  })
  .meta({ examples: [{ rate: "100/s" }, { rate: null, sample: "50%" }], minProperties: 1 })
  .openapi("SettingsChange");

/** Converts a checked change into the argument of `changeSettings`. */
export function toSettings({ rate, concurrency, sample, paused }: z.output<typeof settingsChange>): {
  readonly [Key in keyof TargetSettings]?: TargetSettings[Key] | null;
} {
  return {
    ...(rate !== undefined && { ratePerSecond: rate === null ? null : toRatePerSecond(rate) }),
    ...(concurrency !== undefined && { concurrency }),
    ...(sample !== undefined && { sample: sample === null ? null : (parseFraction(sample) as number) }),
    ...(paused !== undefined && { paused: paused ? (true as const) : null }),
  };
}

/** Requests per second in the form of the configuration, in the shortest unit that gives a whole number. */
export function formatRate(perSecond: number | "unlimited"): string {
  if (perSecond === "unlimited" || perSecond === Number.POSITIVE_INFINITY) return "unlimited";
  const units = [
    ["s", 1],
    ["min", 60],
    ["h", 3_600],
  ] as const;
  const [unit, seconds] = units.find(([, length]) => isWhole(perSecond * length)) ?? units[perSecond < 1 ? 2 : 0];
  return `${tidy(perSecond * seconds)}/${unit}`;
}

/** A share from 0 to 1 in the form of the configuration. */
export function formatShare(share: number): string {
  return `${tidy(share * 100)}%`;
}

function toRatePerSecond(rate: string): number | "unlimited" {
  const perSecond = parseRatePerSecond(rate) as number;
  return perSecond === Number.POSITIVE_INFINITY ? "unlimited" : perSecond;
}

// Rounds away the errors of binary fractions, such as 0.1 + 0.2.
function tidy(value: number): number {
  return Number(value.toPrecision(12));
}

function isWhole(value: number): boolean {
  return value >= 1 && Number.isInteger(tidy(value));
}
