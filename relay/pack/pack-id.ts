import { randomBytes } from "node:crypto";

/** The number of consecutive packs of an agent whose ids differ only in the last byte, if the packs are not large. */
export const packsOfGroup = 20;
/** A group with so many requests gets no further packs: the fates of all of its requests at all targets share one item of 400 KB. */
export const requestsOfGroup = 4_000;

/** The first bytes of ids that `createPackIds` makes. Stored in queues and tables: they must never change. */
const groupMark = Buffer.from("page");
const idBytes = 16;
const groupHexDigits = 2 * (idBytes - 1);

/** Makes the id of a pack, 16 bytes. The argument is the number of requests in the pack before it. */
export type CreatePackId = (requestsBefore: number) => Uint8Array;

/**
 * Returns a function that makes the ids of an agent's packs. The ids of up to 20 packs in a row differ only in their last byte,
 * so that a ledger can keep these packs together: one write instead of twenty.
 */
export function createPackIds(random: (bytes: number) => Uint8Array = randomBytes): CreatePackId {
  let group: Uint8Array = new Uint8Array();
  let next = packsOfGroup;
  let requests = 0;
  return (requestsBefore) => {
    requests += requestsBefore;
    if (next === packsOfGroup || requests >= requestsOfGroup) {
      group = random(idBytes - 1 - groupMark.length);
      next = 0;
      requests = 0;
    }
    return Buffer.concat([groupMark, group, Buffer.of(next++)]);
  };
}

/** The group of a pack, in base64url, and its place there, in hex; undefined for ids that `createPackIds` has not made. */
export function toPackGroup(id: string): { readonly group: string; readonly slot: string } | undefined {
  if (!groupedId.test(id)) return undefined;
  const group = Buffer.from(id.slice(2 * groupMark.length, groupHexDigits), "hex").toString("base64url");
  return { group, slot: id.slice(groupHexDigits) };
}

const groupedId = new RegExp(`^${groupMark.toString("hex")}[0-9a-f]{${2 * (idBytes - groupMark.length)}}$`);
