import type { CostPart } from "./estimate/daily-cost.ts";
import type { RunbookSection } from "./runbook.ts";
import type { WatchedMetric } from "./watched-metric.ts";

/** An alarm in CloudWatch, as plain data. */
export interface AlarmLayout {
  /** Unique in its stack. */
  readonly id: string;
  readonly section: RunbookSection;
  /** One sentence: what is wrong while the alarm rings, and what follows from it. */
  readonly says: string;
  /** One metric, or cost parts whose sum is compared with the threshold. */
  readonly watches: WatchedMetric | readonly CostPart[];
  readonly periodSeconds: number;
  readonly rings: "above" | "below";
  readonly threshold: number;
  /** The alarm rings if `least` of the last `of` periods passed the threshold. */
  readonly times: { readonly least: number; readonly of: number };
  /** How a period without a value counts. */
  readonly silence: "good" | "bad";
}

export const minuteSeconds = 60;
export const fiveMinutesSeconds = 300;

export const once = { least: 1, of: 1 } as const;
export const twiceOfThree = { least: 2, of: 3 } as const;
