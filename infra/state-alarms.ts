import { type AlarmLayout, fiveMinutesSeconds, twiceOfThree } from "./alarm.ts";
import type { FunctionLayout } from "./function-layout.ts";
import type { Layout, TableLayout } from "./layout.ts";
import { ofRelay, ofTable } from "./watched-metric.ts";

/**
 * Alarms about a function that the table refuses: nothing fails then, packs only go back into their queue. The other functions
 * need none: a failure of the state fails the schedule, and the commands that use the control API print it.
 */
export function toStateAlarms(one: FunctionLayout, { name }: Layout): readonly AlarmLayout[] {
  const { kind, target = "" } = one;
  // A function writes its metrics at the end of an invocation, which may be as long as its timeout.
  const periodSeconds = Math.ceil(one.timeoutSeconds / fiveMinutesSeconds) * fiveMinutesSeconds;
  const down = {
    section: "stateDown",
    periodSeconds,
    rings: "above",
    threshold: 0,
    times: twiceOfThree,
    silence: "good",
  } as const;
  switch (kind) {
    case "fanout":
      return [
        {
          ...down,
          id: "StateDown-fanout",
          says: `The state table refuses ${one.name}, or does not answer it: packs go back into the ingress queue.`,
          watches: ofRelay(name, "fanOutStateDown", "Sum"),
        },
      ];
    case "replay":
      return [
        {
          ...down,
          id: `StateDown-replay-${target}`,
          says: `The state table refuses ${one.name}, or does not answer it: requests to ${target} wait, or are sent twice.`,
          watches: ofRelay(name, "stateDown", "Sum", target),
        },
        {
          id: `NoProgress-${target}`,
          section: "noProgress",
          says: `${one.name} puts requests back and settles none, although ${target} is not held.`,
          watches: ofRelay(name, "progress", "Maximum", target),
          periodSeconds,
          rings: "below",
          threshold: 1,
          times: { least: 3, of: 3 },
          // Without packs there is nothing to put back.
          silence: "good",
        },
      ];
    default:
      return [];
  }
}

/** DynamoDB counts reads and writes apart, and those that only one key is too busy for once more. */
export function toTableAlarms(table: TableLayout): readonly AlarmLayout[] {
  const throttled = { periodSeconds: fiveMinutesSeconds, rings: "above", threshold: 0, silence: "good" } as const;
  return (["Read", "Write"] as const).flatMap((kind): readonly AlarmLayout[] => [
    {
      ...throttled,
      id: `TableThrottled-${kind}`,
      section: "tableThrottled",
      says: `DynamoDB throttles ${kind.toLowerCase()}s of the table ${table.name}: packs wait, and some requests are sent twice.`,
      watches: ofTable(table, `${kind}ThrottleEvents`),
      times: twiceOfThree,
    },
    {
      ...throttled,
      id: `HotKey-${kind}`,
      section: "hotKey",
      says: `DynamoDB throttles ${kind.toLowerCase()}s of one key of the table ${table.name}: it is used more often than a key may be.`,
      watches: ofTable(table, `${kind}KeyRangeThroughputThrottleEvents`),
      times: twiceOfThree,
    },
  ]);
}
