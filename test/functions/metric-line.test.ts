import { describe, expect, it } from "vitest";
import { MetricLine } from "../../functions/metric-line.ts";
import { createLogger } from "../../relay/log/log.ts";
import { FigureBook } from "../../relay/replay/figure-book.ts";
import { StateError } from "../../relay/state/port.ts";
import { openState } from "../support/data/lanes.ts";
import { LogLines } from "../support/data/log-lines.ts";
import { toCloudWatch } from "../support/data/metric-lines.ts";

const times = { totalMs: 5, firstByteMs: 4 };

describe("MetricLine", () => {
  it("writes all counts of a target as one line, in the embedded metric format", () => {
    const { metrics, lines } = open();
    metrics.countAt("a", "answered2xx", 7);
    metrics.countAt("a", "answered2xx", 2);
    metrics.countAt("a", "skipped", 1);

    metrics.write();

    expect(lines).toEqual([
      {
        level: "info",
        time: expect.any(String),
        event: "metrics",
        _aws: {
          Timestamp: 1_700_000_000_000,
          CloudWatchMetrics: [
            {
              Namespace: "spoa-relay/packs",
              Dimensions: [["Target"]],
              Metrics: [
                { Name: "Answered2xx", Unit: "Count" },
                { Name: "Skipped", Unit: "Count" },
              ],
            },
          ],
        },
        Target: "a",
        Answered2xx: 9,
        Skipped: 1,
        msg: "",
      },
    ]);
  });

  it("writes counts without a target in the same line, without a dimension", () => {
    const { metrics, lines } = open();
    metrics.countAt("a", "answered2xx", 7);
    metrics.count("packs", 3);

    metrics.write();

    expect(lines).toHaveLength(1);
    expect(toCloudWatch(lines)).toEqual({
      "spoa-relay/packs Answered2xx {Target=a}": 7,
      "spoa-relay/packs Packs": 3,
    });
  });

  it("writes a line for each target, and counts without a target once", () => {
    const { metrics, lines } = open();
    metrics.countAt("a", "breakerOpen", 1);
    metrics.countAt("b", "breakerOpen", 1);
    metrics.count("missingPacks", 4);

    metrics.write();

    expect(lines).toHaveLength(2);
    expect(toCloudWatch(lines)).toEqual({
      "spoa-relay/packs BreakerOpen {Target=a}": 1,
      "spoa-relay/packs BreakerOpen {Target=b}": 1,
      "spoa-relay/packs MissingPacks": 4,
    });
  });

  it("writes no count twice, and no 0: CloudWatch bills each hour in which a metric has a value", () => {
    const { metrics, lines } = open();
    metrics.count("packs", 3);
    metrics.count("captured", 0);
    metrics.countAt("a", "skipped", 0);

    metrics.write();
    metrics.write();

    expect(lines).toHaveLength(1);
    expect(toCloudWatch(lines)).toEqual({ "spoa-relay/packs Packs": 3 });
  });

  it("writes a progress of 0 if requests were put back and none was settled, and 1 if one was", () => {
    const seen = [[false], [false, true], [true, false], []].map((notes) => {
      const { metrics, lines } = open();
      for (const settled of notes) metrics.noteProgress("a", settled);
      metrics.write();
      metrics.write();
      return lines.map(() => toCloudWatch(lines)["spoa-relay/packs Progress {Target=a}"]);
    });

    expect(seen).toEqual([[0], [1], [1], []]);
  });

  it("writes at any log level", () => {
    const lines: unknown[] = [];
    const log = createLogger("error", { write: (line) => lines.push(JSON.parse(line)) });
    const metrics = new MetricLine("packs", log);
    metrics.count("packs", 3);

    metrics.write();
    log.info("below the level");

    expect(lines).toHaveLength(1);
  });
});

describe("MetricLine: figures", () => {
  it("are counted as metrics once they have been added, if there is such a metric", async () => {
    const { metrics, lines } = open();
    const state = openState();
    const book = new FigureBook("a", metrics.over(state.figures), () => 1_700_000_000_000);
    book.count("answered.5xx", 4);
    book.count("timedOut", 2);
    book.count("undelivered", 1);
    book.count("expired", 3);
    book.count("skipped", 2);
    book.count("deadLettered", 1);
    book.count("filtered", 9);

    await book.flush();
    metrics.write();

    expect(toCloudWatch(lines)).toEqual({
      "spoa-relay/packs Answered5xx {Target=a}": 4,
      "spoa-relay/packs Undelivered {Target=a}": 3,
      "spoa-relay/packs Skipped {Target=a}": 5,
      "spoa-relay/packs DeadLettered {Target=a}": 1,
    });
    expect(await state.figures.read("a", 0, Number.MAX_SAFE_INTEGER)).toHaveLength(1);
  });

  it("include the ages of requests, 20 in a line at most", async () => {
    const { metrics, lines } = open();
    const book = new FigureBook("a", metrics.over(openState().figures));
    for (let i = 0; i < 90; i++) book.countAnswer(200, times);
    for (let i = 0; i < 10; i++) book.countAnswer(60_000, times);

    await book.flush();
    metrics.write();

    const ages = toCloudWatch(lines)["spoa-relay/packs AgeAtDelivery {Target=a}"] as number[];
    expect(ages).toHaveLength(20);
    expect(ages.filter((ms) => ms > 190 && ms < 210)).toHaveLength(18);
    expect(ages.filter((ms) => ms > 57_000 && ms < 63_000)).toHaveLength(2);
  });

  it("include one age for one request", async () => {
    const { metrics, lines } = open();
    const book = new FigureBook("a", metrics.over(openState().figures));
    book.countAnswer(200, times);

    await book.flush();
    metrics.write();

    expect(toCloudWatch(lines)["spoa-relay/packs AgeAtDelivery {Target=a}"]).toHaveLength(1);
  });

  it("are counted later if the state store does not answer now", async () => {
    const { metrics, lines } = open();
    const state = openState();
    let away = true;
    const add: typeof state.figures.add = async (...figures) => {
      if (away) throw new StateError("away");
      await state.figures.add(...figures);
    };
    const book = new FigureBook("a", metrics.over({ add }));
    book.count("answered.2xx", 4);

    await book.flush();
    metrics.write();
    expect(toCloudWatch(lines)).toEqual({ "spoa-relay/packs StateDown {Target=a}": 1 });
    away = false;
    await book.flush();
    metrics.write();

    expect(toCloudWatch(lines)).toMatchObject({ "spoa-relay/packs Answered2xx {Target=a}": 4 });
  });
});

function open() {
  const { log, lines } = new LogLines();
  return { metrics: new MetricLine("packs", log, () => 1_700_000_000_000), lines };
}
