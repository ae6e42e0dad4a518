import { Intake } from "../../agent/intake/intake.ts";
import type { Packer } from "../../agent/intake/packer.ts";
import type { AgentLedger } from "../../agent/ledger.ts";

/** An intake without sample, filter and redaction. */
export function takeEverything(ledger: AgentLedger, packer: Packer): Intake {
  return new Intake({
    sample: { fraction: 1 },
    redactor: undefined,
    ledger,
    packer,
    nowMs: Date.now,
    random: Math.random,
    onUnknownArgument: () => {},
    onUnusable: () => {},
    onUnknownWhole: () => {},
  });
}
