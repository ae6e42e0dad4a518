import { describe, expect, it } from "vitest";
import { type Estimate, monthSeconds, toEstimate } from "../../../infra/estimate/estimate.ts";
import { prices } from "../../../infra/estimate/prices.ts";
import { toLayout } from "../../../infra/layout.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import { configFile } from "../../support/lambda/lambda-config.ts";

const account = "https://sqs.us-east-1.amazonaws.com/111122223333";
const head = [`queue: ${account}/shop`, "state: dynamodb:shop"];

function estimate(ratePerSecond: number, ...lines: readonly string[]): Estimate {
  const config = loadConfig(configFile(...head, ...lines), {});
  return toEstimate(config, toLayout(config), ratePerSecond);
}

function target(name: string, keys: string): string {
  return `  ${name}: { url: https://${name}.example, ${keys} }`;
}

function usdOf({ lines }: Estimate, what: string): number {
  return lines.filter((line) => line.what.startsWith(what)).reduce((sum, { usd }) => sum + usd, 0);
}

/** Without the polls of empty queues. */
function sqsUsdAMillion(bill: Estimate, queues: number): number {
  const polls = queues * 900 * 730 * prices.sqsRequest;
  return (usdOf(bill, "SQS") - polls) / (bill.requests / 1e6);
}

// The expected values were counted call by call by `npm run bench`, in front of emulators: see infra/README.md.
describe("the estimate", () => {
  it("bills the calls to SQS that the bench counted, with a fan-out and without", () => {
    const direct = estimate(5_000, "targets:", target("only", "rate: unlimited"));
    const fannedOut = estimate(5_000, "targets:", target("only", `rate: unlimited, queue: ${account}/own`));

    expect(sqsUsdAMillion(direct, 1)).toBeCloseTo(0.0056, 3);
    expect(sqsUsdAMillion(fannedOut, 2)).toBeCloseTo(0.0112, 3);
  });

  it("bills the calls to DynamoDB that the bench counted", () => {
    const bill = estimate(1_000, "targets:", target("only", "rate: 1000/s"));

    const usdAMillion = (usdOf(bill, "DynamoDB") - prices.dynamoDbGbMonth) / (bill.requests / 1e6);
    expect(usdAMillion).toBeCloseTo(0.0045, 3);
  });

  it("has the sum of its lines as total", () => {
    const bill = estimate(500, "targets:", target("a", "rate: 200/s, sample: 10%"), target("b", "rate: unlimited"));

    expect(bill.totalUsd).toBeCloseTo(usdOf(bill, ""));
    expect(bill.requests).toBe(500 * monthSeconds);
  });

  it("bills small packs of few requests like full ones", () => {
    const [few, many] = [5, 5_000].map((rate) => estimate(rate, "targets:", target("only", "rate: unlimited")));

    expect(sqsUsdAMillion(few, 1)).toBeGreaterThan(20 * sqsUsdAMillion(many, 1));
  });

  it("bills the polls of empty queues if nothing is mirrored", () => {
    expect(usdOf(estimate(0, "targets:", target("only", "rate: 1/s")), "SQS")).toBeCloseTo(0.26, 2);
  });

  it("multiplies the sample of the agents by that of the target", () => {
    const bill = estimate(1_000, "agent: { sample: 50% }", "targets:", target("only", "rate: 1000/s, sample: 10%"));
    const whole = estimate(1_000, "agent: { sample: 50% }", "targets:", target("only", "rate: 1000/s"));

    expect(bill.requests).toBe(500 * monthSeconds);
    expect(usdOf(bill, "Lambda, replay")).toBeLessThan(usdOf(whole, "Lambda, replay") / 2);
  });

  it("bills a replay for the time that it waits for its rate", () => {
    // At 200/s one function sends for half of the time; in the other half nothing waits.
    const bill = estimate(100, "targets:", target("only", "rate: 200/s"));

    const gbSeconds = usdOf(bill, "Lambda, replay") / prices.lambdaGbSecond;
    expect(gbSeconds / monthSeconds).toBeGreaterThan(0.5);
    expect(gbSeconds / monthSeconds).toBeLessThan(0.65);
  });

  it("warns if more requests arrive than a target's rate, and bills all functions that wait", () => {
    const bill = estimate(300, "targets:", target("slow", "rate: 200/s"));

    expect(bill.notes[0]).toContain("targets.slow: up to 300 requests a second arrive for it, but its rate is 200/s");
    expect(usdOf(bill, "Lambda, replay")).toBeGreaterThan(7 * monthSeconds * prices.lambdaGbSecond);
  });

  it("warns if the functions of a target, or of an account, cannot reach the rates", () => {
    const single = estimate(100, "targets:", target("single", "rate: 10000/s, concurrency: 1"));
    const fits = estimate(100, "targets:", target("fits", "rate: 10000/s"));
    const names = ["a", "b", "c", "d"];
    const many = estimate(100, "targets:", ...names.map((name) => target(name, "rate: 10000/s")));

    expect(single.notes[0]).toContain(
      "targets.single: 1,000 functions, the most that Lambda runs for a queue, send 1,000",
    );
    expect(single.notes[1]).toContain("functions run at once, and Lambda runs 1,000 in an account and region");
    expect(fits.notes.length).toBe(1);
    expect(many.notes[0]).toMatch(/^account \d{12}, us-east-1: up to 1,26\d functions run at once/);
  });

  it("bills traffic to a queue in another region, and none in the same region", () => {
    const near = estimate(1_000, "targets:", target("a", `rate: unlimited, queue: ${account}/own`));
    const far = estimate(1_000, "targets:", target("a", "rate: unlimited, region: eu-central-1"));

    expect(usdOf(near, "Between regions")).toBe(0);
    // A third of 1,225 B a request, plus the writes of its functions to the table.
    const packsGb = (1_000 * 1_225 * monthSeconds) / 3 / 1e9;
    expect(usdOf(far, "Between regions") / prices.otherRegionGb).toBeGreaterThan(packsGb);
    expect(usdOf(far, "Between regions") / prices.otherRegionGb).toBeLessThan(1.1 * packsGb);
  });

  it("bills the objects of a capture, and their storage for as long as they are kept", () => {
    const keep = (time: string) =>
      estimate(1_000, "captures:", `  shop: { store: s3://kept, keep: ${time} }`, "targets: {}");
    const [week, month] = [keep("7d"), keep("28d")].map((bill) => usdOf(bill, "S3"));

    expect(month - week).toBeCloseTo((1_000 * 1_225 * 21 * 86_400 * prices.s3GbMonth) / 3 / 1e9);
    expect(week).toBeGreaterThan(0);
  });

  it("bills alarms and a dashboard even if nothing is mirrored", () => {
    const plain = usdOf(estimate(0, "targets:", target("a", "rate: 1/s")), "CloudWatch, alarms");
    const costs = usdOf(
      estimate(0, "targets:", target("a", "rate: 1/s"), "aws: { alarms: { dailyCost: 5 USD } }"),
      "CloudWatch, alarms",
    );

    expect(plain).toBeGreaterThan(prices.dashboardMonth + 5 * prices.alarmMonth);
    // The cost alarm reads several metrics, and each is billed.
    expect(costs).toBeGreaterThan(plain + 3 * prices.alarmMonth);
  });

  it("bills the seven alarms of each further target", () => {
    const bill = (...names: readonly string[]) =>
      usdOf(estimate(0, "targets:", ...names.map((name) => target(name, "rate: 1/s"))), "CloudWatch, alarms");

    expect(bill("a", "b", "c") - bill("a", "b")).toBeCloseTo(7 * prices.alarmMonth);
  });

  it("bills one key for each stack if the stacks have keys of their own", () => {
    const lines = ["targets:", target("a", "rate: unlimited, region: eu-central-1")];

    expect(usdOf(estimate(1, ...lines), "KMS")).toBe(0);
    expect(usdOf(estimate(1, ...lines, "aws: { key: own }"), "KMS")).toBe(2 * prices.keyMonth);
  });
});
