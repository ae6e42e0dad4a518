import { describe, expect, it } from "vitest";
import { createStateOutage, StatePatience } from "../../functions/state-patience.ts";
import { StateError } from "../../relay/state/port.ts";
import { LogLines } from "../support/data/log-lines.ts";

const invocation = { patient: false, signal: new AbortController().signal };

describe("StatePatience", () => {
  it("logs the end of an outage only after work that the store has answered", async () => {
    const log = new LogLines();
    const patience = new StatePatience("staging", createStateOutage(log.log));
    await patience.run(invocation, fail).catch(() => {});
    await patience.run(invocation, async () => false);
    await patience.run(invocation, fail).catch(() => {});
    const during = [...log.events];
    await patience.run(invocation, async () => {});

    expect(during).toEqual(["state-down"]);
    expect(log.events).toEqual(["state-down", "state-up"]);
    expect(log.lines[1]).toMatchObject({ failures: 2 });
  });
});

async function fail(): Promise<void> {
  throw new StateError("away");
}
