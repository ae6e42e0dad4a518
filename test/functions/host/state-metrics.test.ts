import { describe, expect, it } from "vitest";
import { measureState } from "../../../functions/host/state-metrics.ts";
import { MetricLine } from "../../../functions/metric-line.ts";
import { jobKey } from "../../../relay/job/job.ts";
import { captureKey, type FannedOutPack, type Fate } from "../../../relay/state/port.ts";
import { openBreaker } from "../../../relay/state/target-control.ts";
import { openState } from "../../support/data/lanes.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { toCloudWatch } from "../../support/data/metric-lines.ts";
import { target } from "../../support/data/targets.ts";

describe("measureState", () => {
  it("counts packs that are missing in the sequences of agents, but not of replay jobs", async () => {
    const { state, measure } = open();
    await state.ledger.recordFanOut(pack({ agent: "edge~1", sequence: 5 }));
    await state.ledger.recordFanOut(pack({ pack: "p2", agent: "edge~2", sequence: 1 }));
    await state.ledger.recordFanOut(pack({ pack: "p3", agent: jobKey("20261122-175341-k3f"), sequence: 9 }));

    expect(await measure()).toEqual({ "spoa-relay/packs MissingPacks": 4 });
  });

  it("counts packs that are missing in runs that have ended, and none for a run with more packs than numbers", async () => {
    let nowMs = Date.parse("2026-11-01");
    const { state, measure } = open(() => nowMs);
    await state.ledger.recordFanOut(pack({ agent: "edge~1", sequence: 5 }));
    for (const id of ["p2", "p3"]) await state.ledger.recordFanOut(pack({ pack: id, agent: "edge~2", sequence: 1 }));
    const before = await measure();
    nowMs += 16 * 86_400_000;
    await state.fold();

    expect((await state.ledger.totals()).agents).toEqual([]);
    expect([before, await measure()]).toEqual([
      { "spoa-relay/packs MissingPacks": 4 },
      { "spoa-relay/packs MissingPacks": 4 },
    ]);
  });

  it("counts requests that wait for captures, but not those that wait for targets", async () => {
    const { state, measure } = open();
    const kept = new Map<number, Fate>([[0, "captured"]]);
    await state.ledger.recordFanOut(pack({ targets: new Map([[captureKey("all"), kept]]) }));
    await state.ledger.recordFanOut(pack({ pack: "p2", sequence: 2, targets: new Map([["a", new Map()]]) }));

    expect(await measure()).toEqual({ "spoa-relay/packs WaitingForCapture": 9 });
  });

  it("counts each target whose breaker is open", async () => {
    const { state, measure } = open();
    await state.controls.write("b", openBreaker({}, 1_000, 1_000, "it fails"), 0);

    expect(await measure()).toEqual({ "spoa-relay/packs BreakerOpen {Target=b}": 1 });
  });

  it("counts nothing if no packs are missing, no requests wait and no breaker is open", async () => {
    const { state, measure } = open();
    await state.ledger.recordFanOut(pack({}));

    expect(await measure()).toEqual({});
  });
});

/** A pack of ten requests, the first of its agent. */
function pack(changes: Partial<FannedOutPack>) {
  return { pack: "p1", agent: "edge~1", sequence: 1, requests: 10, targets: new Map(), ...changes };
}

function open(now?: () => number) {
  const state = openState(now);
  const { log, lines } = new LogLines();
  const metrics = new MetricLine("packs", log);
  const measure = async () => {
    const { ledger, controls } = state;
    await measureState({ targets: [target({ name: "a" }), target({ name: "b" })], ledger, controls, metrics });
    metrics.write();
    return toCloudWatch(lines.splice(0));
  };
  return { state, measure };
}
