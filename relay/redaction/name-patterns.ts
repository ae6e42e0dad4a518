/** Tests a name, given with one character per byte. */
export type NameTest = (name: string) => boolean;

/**
 * A test for names that match one of the patterns. `*` stands for any characters, or none. Case of ASCII letters is ignored. The
 * time grows with the length of the name only: what clients send cannot slow it down.
 */
export function createNameTest(patterns: readonly string[]): NameTest {
  const exact = new Set<string>();
  const parted: (readonly string[])[] = [];
  for (const pattern of patterns) {
    const parts = Buffer.from(pattern).toString("latin1").toLowerCase().split("*");
    if (parts.length === 1) exact.add(parts[0]);
    else parted.push(parts);
  }
  return (name) => {
    const lowerCase = name.toLowerCase();
    return exact.has(lowerCase) || parted.some((parts) => isComposedOf(lowerCase, parts));
  };
}

/** Whether the text is the parts in their order, with anything between them. */
function isComposedOf(text: string, parts: readonly string[]): boolean {
  const last = parts.length - 1;
  let at = parts[0].length;
  const end = text.length - parts[last].length;
  if (at > end || !text.startsWith(parts[0]) || !text.endsWith(parts[last])) return false;
  for (let i = 1; i < last; i++) {
    const found = text.indexOf(parts[i], at);
    if (found < 0) return false;
    at = found + parts[i].length;
  }
  return at <= end;
}
