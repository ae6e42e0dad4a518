import { createHash } from "node:crypto";
import { createPackIds, packsOfGroup } from "../../../relay/pack/pack-id.ts";
import type { Ledger } from "../../../relay/state/port.ts";

/** The id of an agent's pack, as an agent makes it: packs of the same group have neighbouring numbers. */
export function groupedId(agent: string, sequence: number): Buffer {
  const group = createHash("sha256")
    .update(`${agent}:${Math.floor(sequence / packsOfGroup)}`)
    .digest();
  const create = createPackIds((bytes) => group.subarray(0, bytes));
  const ids = Array.from({ length: (sequence % packsOfGroup) + 1 }, create);
  return Buffer.from(ids[sequence % packsOfGroup]);
}

/** A ledger in which all packs are in one group, whatever names a test gives them; each new name is the next pack. */
export function inOneGroup(ledger: Ledger): Ledger {
  const names: string[] = [];
  const idOf = (name: string) => {
    if (!names.includes(name)) names.push(name);
    return groupedId("edge", names.indexOf(name)).toString("hex");
  };
  return {
    recordFanOut: (pack) => ledger.recordFanOut({ ...pack, pack: idOf(pack.pack) }),
    settle: (target, pack, settlement, redrives) => ledger.settle(target, idOf(pack), settlement, redrives),
    reopen: (target, pack, indexes, redrives) => ledger.reopen(target, idOf(pack), indexes, redrives),
    move: (from, to, pack, indexes, redrives) => ledger.move(from, to, idOf(pack), indexes, redrives),
    fannedOut: (pack) => ledger.fannedOut(idOf(pack)),
    sheet: (target, pack) => ledger.sheet(target, idOf(pack)),
    totals: () => ledger.totals(),
  };
}
