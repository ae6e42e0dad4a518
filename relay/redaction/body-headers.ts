import { createNameTest } from "./name-patterns.ts";

// Digests of RFC 9530 and its predecessors, and those of AWS, Azure, Google and others. They no longer fit a changed body, and would
// let somebody test guesses of what was masked.
const isDigest = createNameTest([
  ...["content-digest", "repr-digest", "unencoded-digest", "digest", "content-md5", "content-sha*", "x-goog-hash"],
  ...["x-*content-md5*", "x-*content-sha*", "x-*content-crc*", "x-*checksum*"],
]);

/** The headers of a request whose body was changed: with its new length, if they have one, and without digests of the old body. */
export function withBodyBytes(headers: readonly string[], bytes: number): readonly string[] {
  return withoutDigests(headers).map((part, i, kept) =>
    i % 2 === 1 && kept[i - 1].toLowerCase() === "content-length" ? String(bytes) : part,
  );
}

/** The headers of a request whose body was left out: its length stays, as for every body that is incomplete. */
export function withoutDigests(headers: readonly string[]): readonly string[] {
  return headers.filter((_, i) => !isDigest(headers[i - (i % 2)]));
}
