import { z } from "@hono/zod-openapi";
import { parseFraction, parseRatePerSecond } from "../../relay/config/units.ts";
import type { TargetSettings } from "../../relay/state/target-control.ts";
import { strict } from "./schema.ts";

// As in the configuration: below it, the wait for a slot would be longer than a timer can hold.
const leastPerHour = 0.01;

/** A text of the configuration's form. It is checked here, and converted where it is used. */
function written(isRight: (text: string) => boolean, what: string, examples: string[]) {
  const form = `${what}, such as ${examples.join(" or ")}`;
  return z
    .string({ error: `must be ${form}, or null` })
    .refine(isRight, { error: ({ input }) => `"${input}" is not ${form}` })
    .meta({ examples });
}

const settings = {
  rate: written((text) => (parseRatePerSecond(text) ?? 0) * 3_600 >= leastPerHour, "a rate of 0.01/h or more", [
    "200/s",
    "30/min",
    "unlimited",
  ])
    .nullable()
    .optional(),
  concurrency: z
    .int({ error: "must be a whole number, or null" })
    .min(1, { error: "must be from 1 to 10000" })
    .max(10_000, { error: "must be from 1 to 10000" })
    .nullable()
    .optional()
    .describe("Requests under way at once, per replay process"),
  sample: written((text) => parseFraction(text) !== undefined, "a percentage from 0% to 100%", ["50%", "0.5%"])
    .nullable()
    .optional(),
  paused: z.boolean({ error: "must be true or false" }).optional(),
};

/** The body of `PATCH /v1/targets/{target}`: null takes a setting back to the configuration. */
export const settingsChange = strict(settings)
  .refine((change) => Object.keys(change).length > 0, {
    error: `nothing to change; allowed here: ${Object.keys(settings).join(", ")}`,
    // An unknown key is a mistake of its own.
    when: ({ issues }) => issues.length === 0,
  })
  .meta({ examples: [{ rate: "100/s" }, { rate: null, sample: "50%" }], minProperties: 1 })
  .openapi("SettingsChange");

/** A checked change as `changeSettings` takes it. */
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

/** Requests a second as the configuration writes them, in the largest unit that needs no fraction, else a second. */
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

/** A share from 0 to 1 as the configuration writes it. */
export function formatShare(share: number): string {
  return `${tidy(share * 100)}%`;
}

function toRatePerSecond(rate: string): number | "unlimited" {
  const perSecond = parseRatePerSecond(rate) as number;
  return perSecond === Number.POSITIVE_INFINITY ? "unlimited" : perSecond;
}

// Without what is left of thirds and of binary fractions.
function tidy(value: number): number {
  return Number(value.toPrecision(12));
}

function isWhole(value: number): boolean {
  return value >= 1 && Number.isInteger(tidy(value));
}
