import { Intake } from "../../../agent/intake/intake.ts";
import { Packer } from "../../../agent/intake/packer.ts";
import type { AgentLedger } from "../../../agent/ledger.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { decodePack, type Pack } from "../../../relay/pack/pack.ts";

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

/** A packer whose packs are read as soon as they are closed. */
export function packInto(ledger: AgentLedger, onPack: (pack: Pack) => void): Packer {
  return new Packer({
    agent: "edge-1",
    targetBytes: 60_000,
    maxRequests: 100_000,
    lingerMs: 250,
    ledger,
    createId: () => Buffer.alloc(16, 0xab),
    hasRoom: () => true,
    ship: ({ content }) => {
      const pack = decodePack(content);
      if (pack instanceof DecodeError) throw pack;
      onPack(pack);
    },
  });
}
