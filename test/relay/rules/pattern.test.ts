import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { maxTextChars, Pattern, Rewrite } from "../../../relay/rules/pattern.ts";
import { PatternError } from "../../../relay/rules/pattern-error.ts";

// Syntax that JavaScript and RE2 understand alike, over few characters: random texts match about as often as not.
const plain = fc.constantFrom("a", "b", "c", "/", "\\.", "\\/", "-", "1", "_", "\\x61", "\\u0062", "\\-", "é", "\\xe9");
const oneOf = fc.constantFrom(".", "\\d", "\\w", "\\D", "\\W", "[^a]", "[a-c]", "[^/]", "[\\w-]", "[]", "[^]");
const repeat = fc.constantFrom("", "", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "+?", "??", "{1,3}?");
const repeated = fc.tuple(fc.oneof({ weight: 4, arbitrary: plain }, oneOf), repeat).map((parts) => parts.join(""));
const assertion = fc.constantFrom("^", "$", "\\b", "\\B");
const { pattern } = fc.letrec<{ pattern: string; group: string }>((tie) => {
  const part = fc.oneof(
    { depthSize: "small" },
    { weight: 5, arbitrary: repeated },
    { weight: 1, arbitrary: assertion },
    { weight: 2, arbitrary: tie("group") },
  );
  const sequence = fc.array(part, { maxLength: 4 }).map((parts) => parts.join(""));
  return {
    pattern: fc.array(sequence, { minLength: 1, maxLength: 2 }).map((alternatives) => alternatives.join("|")),
    group: fc
      .tuple(fc.constantFrom("(", "(?:"), tie("pattern"), repeat)
      .map(([open, inner, times]) => `${open}${inner})${times}`),
  };
});
const withLookAhead = fc
  .tuple(fc.array(fc.tuple(fc.constantFrom("(?!", "(?="), pattern), { minLength: 1, maxLength: 2 }), pattern)
  .map(([heads, rest]) => `^${heads.map(([open, inner]) => `${open}${inner})`).join("")}(?:${rest})`);
const text = fc.string({ unit: fc.constantFrom(..."abc/.-1_\xe9 \n€"), maxLength: 12 });

describe("a pattern", () => {
  it("matches the texts that it matches in JavaScript", () => {
    let [compared, matched] = [0, 0];
    fc.assert(
      fc.property(
        fc.oneof(pattern, withLookAhead),
        fc.array(text, { minLength: 5, maxLength: 10 }),
        (written, texts) => {
          const [ours, theirs] = [compile(written), new RegExp(written)];
          if (!ours) return;
          for (const each of texts) {
            compared++;
            if (theirs.test(each)) matched++;
            expect([written, each, ours.test(each)]).toEqual([written, each, theirs.test(each)]);
          }
        },
      ),
      { numRuns: 100 },
    );
    expect(compared).toBeGreaterThan(300);
    expect(matched / compared).toBeGreaterThan(0.1);
  });

  it.each([
    ["^/api/(\\w+/?)*$", "/api/", "a", "!"],
    ["(a|a)*b", "", "a", ""],
    ["(x+x+)+y", "", "x", ""],
    ["(.*a){20}", "", "a", ""],
    ["[ab]*a[ab]{9}$", "", "ab", "c"],
    ["^(?!(a+)+$)(?=(b+)+$)", "", "a", "!"],
    ["(\\d+\\.?){3,30}x", "", "1.", ""],
    [`^${"(?!.*[a-m].{5}1)".repeat(8)}`, "", "abz", ""],
    [`^${"(?!(?:.|€|\\pL)*1)".repeat(8)}`, "", "aé€語", ""],
  ])("takes a few nanoseconds for each character, as %s with %s%s…%s", (written, start, repeated, end) => {
    const pattern = new Pattern(written);
    const longest = start + repeated.repeat((maxTextChars - start.length - end.length) / repeated.length) + end;

    expect(milliseconds(() => pattern.test(longest))).toBeLessThan(5);
  });

  it("matches no text that is longer than 64 KiB", () => {
    const longest = "a".repeat(maxTextChars);

    expect(new Pattern("a").test(longest)).toBe(true);
    expect(new Pattern("a").test(`${longest}a`)).toBe(false);
    expect(new Rewrite("^a").replace(`${longest}a`, "b")).toBe(`${longest}a`);
  });

  it.each([
    ["((a{100}){100}){100}", "more than 10000 characters if its repeats"],
    ["(a{90}){90}", "invalid repeat count: `{90}`"],
    ["a{2000}", "invalid repeat count: `{2000}`"],
    ["(a{30}){30}b(c{30}){30}", "too much time or memory"],
    ["[ab]*a[ab]{20}", "too much time or memory: write + or * for a repeat"],
    ["^(?!.*x.{40}y)", "too much time or memory"],
    ["a".repeat(5_000), "5000 characters, and may have 4096"],
    [`^${"(?!z)".repeat(9)}`, "9 look-aheads, and may have 8: write (?!A|B)"],
    [`^${"(?!.*z.{8}c)".repeat(8)}`, "too much time or memory"],
    ["(?:\\pL?){500}\\pN", "too much time or memory"],
    ["a{1000}".repeat(500), "more than 10000 characters if its repeats with a number were written out"],
    [`(?:${"a".repeat(1_000)}){1000}`, "more than 10000 characters if its repeats"],
    ["((a{1,9}b{9}){10,}){99}", "more than 10000 characters if its repeats"],
    [`\\Q(\\E${"(?:\\Q)\\Ea{1000})".repeat(100)}`, "more than 10000 characters if its repeats"],
    [`(?i)${"[b-\\x{1e942}]".repeat(300)}`, "more than 16 \\p, \\x{…} and characters that no byte is"],
    ["\\pL".repeat(1_000), "more than 16 \\p"],
    [`${"(".repeat(2_000)}a${")".repeat(2_000)}`, "nest"],
    ["(?<=/api)/v1", "look-behind (?<=…): write what is before it into the pattern"],
    ["/api(?!/v1)", "look-ahead (?!…): it can only be right after a ^"],
    ["^(?!/a)/b|/c", "alternatives need brackets"],
    ["^(?!/a", "a ) is missing"],
    ["(a)\\1", "back-reference \\1"],
    ["(?<n>a)\\k<n>", "back-reference \\k"],
    ["(", "missing closing )"],
    ["a**", "invalid nested repetition operator"],
    ["[b-a]", "invalid character class range"],
  ])("is refused soon if it is %.30s", (written, reason) => {
    let error: unknown;
    const elapsedMs = cpuMilliseconds(() => {
      try {
        new Pattern(written);
      } catch (thrown) {
        error = thrown;
      }
    });

    expect(error).toBeInstanceOf(PatternError);
    expect((error as PatternError).message).toContain(reason);
    expect((error as PatternError).message.length).toBeLessThan(400);
    expect(elapsedMs).toBeLessThan(150);
  });

  it.each([
    [`^${"(?!.*[a-m].{5}1)".repeat(8)}`],
    [`(?i)${"[b-\\x{1e942}]".repeat(16)}`],
    ["[ab]*a[ab]{9}$"],
    [`^(?:${"a".repeat(90)}){99}`],
    [`(?:${"a?".repeat(99)}){49}`],
    ["^.(?:a?b?c?d?e?f?g?h?i?j?){100}"],
    ["\\pL*".repeat(16)],
    ["(a*)*".repeat(800)],
  ])("is soon ready if it is %.30s", (written) => {
    expect(cpuMilliseconds(() => new Pattern(written))).toBeLessThan(150);
  });
});

describe("a rewrite", () => {
  it("cannot have a look-ahead", () => {
    expect(() => new Rewrite("^(?!/a)/b")).toThrow("it cannot have a look-ahead");
  });

  it.each(["(?:.?){1000}(b?)$", "(?:a?){900}(a*)$", `${"(a?)".repeat(60)}$`])(
    "cannot be %.30s, which looks at everything for each character",
    (written) => {
      expect(() => new Rewrite(written)).toThrow("too long, or has too many groups, for a rewrite");
    },
  );

  it.each(["(?:.?){120}(b?)$", "(.*)(.*)(.*)(.*)(.*)(.*)$", "(?:[^/]*/?){50}$"])(
    "leaves texts as they are that would take too long, as with %s",
    (written) => {
      const rewrite = new Rewrite(written);
      let [least, most] = [4_096, maxTextChars];
      while (most - least > 1_000) {
        const length = (least + most) >> 1;
        if (rewrite.replace("a".repeat(length), "x").endsWith("x")) least = length;
        else most = length;
      }

      expect(rewrite.replace("a".repeat(4_096), "x")).toMatch(/^a*x$/);
      expect(most).toBeLessThan(maxTextChars - 1_000);
      expect(cpuMilliseconds(() => rewrite.replace("a".repeat(least), "x"))).toBeLessThan(250);
    },
  );

  it.each([
    ["^/api/v(\\d+)/([a-z]+)/(.*)$", "/v$1/$2/$3"],
    ["^/(users|orders|products|customers|invoices|payments)/([^/?]+)/(.*)", "/$2/$1/$3"],
  ])("takes paths of 16 KiB, as with %s", (written, replacement) => {
    const path = `/api/v2/users/${"a/".repeat(8_000)}`;

    for (const text of [path, path.slice(7)])
      expect(new Rewrite(written).replace(text, replacement)).toBe(text.replace(new RegExp(written), replacement));
  });

  it("replaces what JavaScript replaces", () => {
    const group = fc
      .tuple(fc.array(repeated, { maxLength: 3 }), fc.array(repeated, { maxLength: 2 }))
      .map(([first, second]) => `(${first.join("")}|${second.join("")})`);
    const grouped = fc.array(fc.oneof(repeated, group, assertion), { maxLength: 5 }).map((parts) => parts.join(""));
    const replacement = fc.array(
      fc.constantFrom("/", "x", "$1", "$2", "$3", "$12", "$&", "$$", "$`", "$'", "$", "$0"),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(grouped, fc.array(text, { minLength: 5 }), replacement, (written, texts, parts) => {
        const rewrite = new Rewrite(written);
        for (const each of texts) {
          const expected = each.replace(new RegExp(written), parts.join(""));
          expect([written, each, rewrite.replace(each, parts.join(""))]).toEqual([written, each, expected]);
        }
      }),
      { numRuns: 100 },
    );
  });
});

/** The least of a few runs: other processes may interrupt one. */
function milliseconds(run: () => void): number {
  const times = Array.from({ length: 5 }, () => {
    const startMs = performance.now();
    run();
    return performance.now() - startMs;
  });
  return Math.min(...times);
}

/** As `milliseconds`, without the time that other processes take. Exact to some 5 ms only. */
function cpuMilliseconds(run: () => void): number {
  const times = Array.from({ length: 3 }, () => {
    const before = process.threadCpuUsage();
    run();
    const { user, system } = process.threadCpuUsage(before);
    return (user + system) / 1_000;
  });
  return Math.min(...times);
}

function compile(written: string): Pattern | undefined {
  try {
    return new Pattern(written);
  } catch (error) {
    if (error instanceof PatternError) return undefined;
    throw error;
  }
}
