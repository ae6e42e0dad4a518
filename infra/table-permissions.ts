import {
  figuresPartition,
  jobsPartition,
  ledgerPartition,
  oldLedgerPartition,
  oldTallyPartition,
  packPartition,
  tallyPartition,
  targetPartition,
} from "../relay/state/dynamodb/keys.ts";
import type { FunctionLayout } from "./function-layout.ts";
import type { Permission } from "./permission.ts";

/** What a function calls on which partitions of the table. */
type Uses = readonly (readonly [actions: readonly TableAction[], partitions: readonly string[]])[];

type TableAction = "GetItem" | "BatchGetItem" | "Query" | "UpdateItem" | "DeleteItem";

// `*` in a condition stands for any text. A group of packs has one item for all targets.
const packs = packPartition("*");
// With the old partitions: functions of the version before may still run when a role is changed, and their sums stay.
const tallies = [tallyPartition("*"), oldTallyPartition];
const bases = [ledgerPartition("*"), oldLedgerPartition];
const targets = targetPartition("*");
const figures = figuresPartition("*");

// A write with a condition also reads: if the condition fails, the item says why.
const readAndWrite = ["GetItem", "UpdateItem"] as const;

/** Pages that are needed at the same time are read in one call. */
const usePacks: Uses[number] = [[...readAndWrite, "BatchGetItem"], [packs]];

/** Whatever adds up the ledger reads all bases and tallies, and the packs that the tallies announce. */
const addUpLedger: Uses = [
  [["BatchGetItem"], bases],
  [["Query"], tallies],
];

/** Exactly the calls of a function to the state table, on the partitions that it uses. */
export function tablePermissions(one: FunctionLayout, table: { readonly arn: string }): readonly Permission[] {
  return usesOf(one).map(([actions, partitions]) => ({
    actions: actions.map((action) => `dynamodb:${action}`),
    resources: [table.arn],
    conditions: { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": partitions } },
  }));
}

function usesOf({ kind, target }: FunctionLayout): Uses {
  switch (kind) {
    case "fanout":
      return [usePacks, [readAndWrite, tallies], [["GetItem"], [targets]], [["UpdateItem"], [figures]]];
    // May run in the account of its shadow, so it is not allowed to change other targets or jobs, or to delete anything.
    case "replay":
      return [
        usePacks,
        [readAndWrite, [targetPartition(`${target}`), ...tallies]],
        [["UpdateItem"], [figuresPartition(`${target}`)]],
        [["GetItem"], [jobsPartition]],
      ];
    case "schedule":
      return [
        ...addUpLedger,
        usePacks,
        // It folds tallies: it moves them into the ledger's bases and deletes them.
        [readAndWrite, bases],
        [[...readAndWrite, "BatchGetItem", "DeleteItem"], tallies],
        [readAndWrite, [targets]],
        [["Query", ...readAndWrite], [jobsPartition]],
      ];
    case "control":
      return [
        ...addUpLedger,
        usePacks,
        [["GetItem"], [oldLedgerPartition]],
        [readAndWrite, [...tallies, targets]],
        [["Query"], [figures, jobsPartition]],
      ];
  }
}
