import { createHash } from "node:crypto";
import { baseKeyOf, oldBaseKey, oldTallyPartition, tallyPartition } from "./keys.ts";
import type { ItemKey } from "./table-client.ts";

/** Where tallies and bases are: DynamoDB takes 1,000 writes a second at most for all items of one partition. */
export interface TallyLayout {
  /** The partitions of the tallies. */
  readonly partitions: readonly string[];
  readonly bases: readonly ItemKey[];
  keyOf(writer: string): ItemKey;
  /** Whether the bases fold runs that have ended. */
  readonly endsRuns: boolean;
  /** The index of the base that has the sums of an agent, a target or a job. */
  baseOf(name: string): number;
}

const partitions = 16;
const bases = 8;

export const tallyLayout: TallyLayout = {
  partitions: Array.from({ length: partitions }, (_, part) => tallyPartition(part)),
  bases: Array.from({ length: bases }, (_, part) => baseKeyOf(part)),
  endsRuns: true,
  keyOf: (writer) => ({ pk: tallyPartition(Buffer.from(writer, "base64url")[0] % partitions), sk: writer }),
  baseOf: (name) => createHash("sha256").update(name).digest()[0] % bases,
};

/** The one partition and the one base of versions before. Their processes may still run, and fold each other's tallies. */
export const oldTallyLayout: TallyLayout = {
  partitions: [oldTallyPartition],
  bases: [oldBaseKey],
  // Nothing is added to it any more, so it does not grow.
  endsRuns: false,
  keyOf: (writer) => ({ pk: oldTallyPartition, sk: writer }),
  baseOf: () => 0,
};
