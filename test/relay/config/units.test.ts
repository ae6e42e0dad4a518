import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  explainRate,
  parseDurationMs,
  parseFraction,
  parseRatePerSecond,
  parseSizeBytes,
} from "../../../relay/config/units.ts";

describe("parseDurationMs", () => {
  it.each([
    ["0ms", 0],
    ["250ms", 250],
    ["3s", 3_000],
    ["1.5s", 1_500],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["7d", 604_800_000],
    [" 3s ", 3_000],
  ])("reads %j", (text, expected) => {
    expect(parseDurationMs(text)).toBe(expected);
  });

  it.each(["", "3", "s", "-3s", "3 s s", "3S", "1e3s", "3sec", ".5s", "Infinitys"])("refuses %j", (text) => {
    expect(parseDurationMs(text)).toBeUndefined();
  });
});

describe("parseSizeBytes", () => {
  it.each([
    ["512B", 512],
    ["48KiB", 49_152],
    ["64MB", 64_000_000],
    ["1.5 MiB", 1_572_864],
    ["2GiB", 2_147_483_648],
    ["1KB", 1_000],
    ["1GB", 1_000_000_000],
    ["1.0001KiB", 1_024],
  ])("reads %j", (text, expected) => {
    expect(parseSizeBytes(text)).toBe(expected);
  });

  it.each(["", "48", "48K", "48kib", "-1B", "48 KiB/s", "0x10B"])("refuses %j", (text) => {
    expect(parseSizeBytes(text)).toBeUndefined();
  });
});

describe("parseRatePerSecond", () => {
  it.each([
    ["200/s", 200],
    ["0.5/s", 0.5],
    ["30/min", 0.5],
    ["36/h", 0.01],
    ["200 / s", 200],
    ["unlimited", Number.POSITIVE_INFINITY],
  ])("reads %j", (text, expected) => {
    expect(parseRatePerSecond(text)).toBeCloseTo(expected, 12);
  });

  it.each(["", "200", "/s", "-1/s", "0/s", "0.0/min", "200/d", "Unlimited", "200s"])("refuses %j", (text) => {
    expect(parseRatePerSecond(text)).toBeUndefined();
  });
});

describe("parseFraction", () => {
  it.each([
    ["0%", 0],
    ["0.5%", 0.005],
    ["50%", 0.5],
    ["100 %", 1],
  ])("reads %j", (text, expected) => {
    expect(parseFraction(text)).toBe(expected);
  });

  it.each(["", "50", "0.5", "-1%", "100.1%", "%", "1e1%"])("refuses %j", (text) => {
    expect(parseFraction(text)).toBeUndefined();
  });
});

describe("any text", () => {
  it("is refused or parsed as a number of 0 or more", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const parse of [parseDurationMs, parseSizeBytes, parseRatePerSecond, parseFraction]) {
          const value = parse(text);
          expect(value === undefined || value >= 0).toBe(true);
        }
      }),
    );
  });

  it("with any digits and a unit is refused or parsed as a number that dates, databases and timers can hold", () => {
    const unit = fc.constantFrom(
      "ms",
      "s",
      "m",
      "h",
      "d",
      "B",
      "KB",
      "MB",
      "GB",
      "KiB",
      "MiB",
      "GiB",
      "/s",
      "/min",
      "/h",
    );
    fc.assert(
      fc.property(fc.stringMatching(/^\d{1,330}(?:\.\d{1,30})?$/), unit, (digits, text) => {
        const ms = parseDurationMs(digits + text) ?? 0;
        const bytes = parseSizeBytes(digits + text) ?? 0;
        const rate = parseRatePerSecond(digits + text) ?? 1;
        expect(Number.isSafeInteger(ms) && Number.isFinite(new Date(Date.UTC(2100) + ms).getTime())).toBe(true);
        expect(Number.isSafeInteger(bytes)).toBe(true);
        expect(rate >= 0.01 / 3_600 && rate <= 1_000_000).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  it("at a bound is parsed, and right above it is refused", () => {
    expect([parseRatePerSecond("1000000/s"), parseRatePerSecond("60000000/min")]).toEqual([1e6, 1e6]);
    expect(parseRatePerSecond("3600000000/h")).toBe(1e6);
    expect(parseRatePerSecond("0.01/h")).toBe(0.01 / 3_600);
    expect([parseRatePerSecond("1000000.1/s"), parseRatePerSecond("0.0099/h")]).toEqual([undefined, undefined]);
    expect([parseDurationMs("36525d"), parseDurationMs("36526d")]).toEqual([36_525 * 86_400_000, undefined]);
    expect([parseSizeBytes("1048576GiB"), parseSizeBytes("1048577GiB")]).toEqual([2 ** 50, undefined]);
    expect([parseDurationMs("1.0005s"), parseDurationMs("0.1ms")]).toEqual([1_001, 0]);
  });
});

describe("explainRate", () => {
  it.each([
    ["100", '"100" has no unit: write 100/s, 100/min or 100/h'],
    ["0.5", '"0.5" has no unit: write 0.5/s, 0.5/min or 0.5/h'],
    ["100rps", '"100rps" is not a rate: write 100/s'],
    ["100 RPS", '"100 RPS" is not a rate: write 100/s'],
    ["100/sec", '"100/sec" is not a rate: write 100/s'],
    ["100 per second", '"100 per second" is not a rate: write 100/s'],
    ["6000/m", '"6000/m" is not a rate: write 6000/min'],
    ["6000/minute", '"6000/minute" is not a rate: write 6000/min'],
    ["10/hour", '"10/hour" is not a rate: write 10/h'],
    ["0.0 rps", '"0.0 rps" is not a rate above 0: to send nothing, pause the target'],
    ["0/s", '"0/s" is not a rate above 0: to send nothing, pause the target'],
    ["0.001/h", '"0.001/h" is below 0.01/h, the lowest rate'],
    ["1000001/s", '"1000001/s" is above 1000000/s, the highest rate; use unlimited for more'],
    ["1000000000rps", '"1000000000rps" is above 1000000/s, the highest rate; use unlimited for more'],
    ["2000000", '"2000000" has no unit: write 2000000/min or 2000000/h'],
    ["fast", '"fast" is not a rate, such as 200/s, 30/min, 10/h or unlimited'],
    ["0", '"0" is not a rate above 0: to send nothing, pause the target'],
    ["0.001", '"0.001" has no unit: write 0.001/s or 0.001/min'],
    ["0.00001", '"0.00001" has no unit: write 0.00001/s'],
    ["0.0000001", '"0.0000001" is below 0.01/h, the lowest rate'],
    ["0.001rph", '"0.001rph" is below 0.01/h, the lowest rate'],
    ["0,5/s", '"0,5/s" is not a rate, such as 200/s, 30/min, 10/h or unlimited'],
    ["0x10/s", '"0x10/s" is not a rate, such as 200/s, 30/min, 10/h or unlimited'],
    ["1e309/s", '"1e309/s" is not a rate, such as 200/s, 30/min, 10/h or unlimited'],
    ["100  /  sec", '"100  /  sec" is not a rate: write 100/s'],
    ["30r/m", '"30r/m" is not a rate: write 30/min'],
    ["100/d", '"100/d" is not a rate, such as 200/s, 30/min, 10/h or unlimited'],
  ])("says what to write instead of %j", (text, explanation) => {
    expect(explainRate(text)).toBe(explanation);
  });

  it("refuses a number that is too large to be one, instead of taking it for unlimited", () => {
    const number = "9".repeat(310);

    for (const text of [`${number}/s`, `${number}rps`, number]) {
      expect(parseRatePerSecond(text)).toBeUndefined();
      expect(explainRate(text)).toContain("is not a rate, such as 200/s");
    }
  });

  it("advises a job neither to be unlimited nor to pause its target", () => {
    expect(explainRate("fast", "job")).toBe('"fast" is not a rate, such as 200/s, 30/min or 10/h');
    expect(explainRate("0/s", "job")).toBe('"0/s" is not a rate above 0, such as 200/s, 30/min or 10/h');
  });

  it("suggests only rates that are valid, and nothing for a valid one", () => {
    const unit = fc.constantFrom("", "rps", "/sec", "/s", "/m", "/min", "/hour", " per minute", "rph", "qps");
    const number = fc.oneof(
      fc.nat(1e9).map(String),
      fc.integer({ min: 0, max: 1e6 }).map((millionths) => (millionths / 1e6).toFixed(6)),
    );
    fc.assert(
      fc.property(number, unit, (count, text) => {
        const explanation = explainRate(`${count}${text}`);
        if (explanation === undefined) expect(parseRatePerSecond(`${count}${text}`)).toBeGreaterThan(0);
        const suggestions = explanation?.split(": write ")[1]?.split(/, | or /) ?? [];
        for (const suggestion of suggestions) expect(explainRate(suggestion)).toBeUndefined();
      }),
    );
  });

  it("suggests only rates that are valid, however small or large the number is", () => {
    const unit = fc.constantFrom("", "rps", "/m", "/hour", " per minute", "rph");
    const number = fc.stringMatching(/^\d{1,330}(?:\.\d{1,9})?$/);
    fc.assert(
      fc.property(number, unit, (digits, text) => {
        const suggestions =
          explainRate(`${digits}${text}`)
            ?.split(": write ")[1]
            ?.split(/, | or /) ?? [];
        for (const suggestion of suggestions) expect(explainRate(suggestion)).toBeUndefined();
      }),
    );
  });
});
