// RFC 9530 and its predecessors. They no longer fit a changed body, and would let somebody test guesses of what was masked.
const digests: ReadonlySet<string> = new Set(["content-digest", "repr-digest", "digest", "content-md5"]);

/** The headers of a request whose body was changed: with its new length, if they have one, and without digests of the old body. */
export function withBodyBytes(headers: readonly string[], bytes: number): readonly string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const lowerCase = headers[i].toLowerCase();
    if (!digests.has(lowerCase)) kept.push(headers[i], lowerCase === "content-length" ? String(bytes) : headers[i + 1]);
  }
  return kept;
}

/** The headers of a request whose body was left out: its length stays, as for every body that is incomplete. */
export function withoutDigests(headers: readonly string[]): readonly string[] {
  return headers.filter((_, i) => !digests.has(headers[i - (i % 2)].toLowerCase()));
}
