import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { until } from "../support/clocks/until.ts";
import type { ArrivalReport } from "../support/data/arrival-recorder.ts";
import { packMessage } from "../support/data/packs.ts";
import { bundleFunctions, LambdaRig } from "../support/lambda/lambda-rig.ts";
import { ChildScript } from "../support/processes/child-script.ts";
import { boundOf, meanRate, mostWithin } from "./rate-figures.ts";

const bundles = mkdtempSync(join(tmpdir(), "spoa-relay-rates-"));
const seconds = 20;
const warmUpUs = 3_000_000;
const ratePerSecond = 400;
const functions = 6;
const requestsOfPack = 150;

beforeAll(() => bundleFunctions(bundles));

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

describe(`${functions} Lambda functions of a target with ${ratePerSecond}/s and a concurrency of 8`, () => {
  it("reach the rate at a shadow that takes 100 ms, by the shadow's own clock", async () => {
    const shadow = await startRecorder(100);
    const rig = await LambdaRig.start(bundles, {
      only: `url: "${shadow}", rate: ${ratePerSecond}/s, concurrency: 8`,
    });
    const wanted = ratePerSecond * (seconds + 5);
    for (let first = 0, sequence = 1; first < wanted + functions * 10 * requestsOfPack; first += requestsOfPack) {
      const parts = Array.from({ length: requestsOfPack }, (_, i) => ({
        id: "",
        method: "GET",
        path: `/${first + i}`,
      }));
      await rig.send("packs", packMessage({ sequence: sequence++, requests: parts }));
    }
    const timeoutMs = 300_000;
    const start = () => rig.open("replay", { RELAY_TARGET: "only" });
    for (let i = 0; i < functions; i++) rig.map("packs", { start, batch: 10, timeoutMs, visibilityMs: timeoutMs });
    const ask = async (what: string) => (await fetch(`${shadow}//${what}`)).text();
    await until(async () => Number(await ask("count")) >= wanted, 110_000);

    const { arrivals } = JSON.parse(await ask("report")) as ArrivalReport;
    const arrivedUs = arrivals.map(([, , atUs]) => atUs);
    const achieved = meanRate(arrivedUs, seconds, warmUpUs);
    console.log(
      `${functions} functions, ${ratePerSecond}/s: ${achieved.toFixed(1)}/s arrived; at most ${mostWithin(arrivedUs, 1e6)} in a second`,
    );
    expect(achieved).toBeGreaterThanOrEqual(0.98 * ratePerSecond);
    // Arrivals may bunch up on the way.
    expect(mostWithin(arrivedUs, 1e6)).toBeLessThanOrEqual(boundOf(ratePerSecond, 1e6, { stallUs: 50_000 }));
  });
});

/** Starts a shadow in a process of its own; resolves with its URL. */
async function startRecorder(latencyMs: number): Promise<string> {
  const script = new ChildScript("../data/arrival-recorder.ts", [String(latencyMs)]);
  onTestFinished(async () => {
    const exited = once(script.process, "exit");
    script.process.kill("SIGKILL");
    await exited;
  });
  await script.printed(1);
  return `http://127.0.0.1:${script.lines[0]}`;
}
