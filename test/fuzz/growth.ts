/** Code that reads text of somebody who is not trusted. */
export interface Reader {
  readonly name: string;
  read(text: Buffer): unknown;
}

/** A text of any length: one unit over and over, between a beginning and an end. */
export interface Shape {
  readonly unit: string;
  readonly start: string;
  readonly end: string;
}

/** A text for which the time of a reader grows faster than its length. */
export interface Growth {
  readonly reader: string;
  readonly shape: Shape;
  /** For 16 small texts. */
  readonly smallMs: number;
  /** For one text that is 16 times as long. */
  readonly largeMs: number;
}

const growths = 16;
// Quadratic work takes 16 times as long for one text as for 16 texts that are as long together.
const allowed = 6;
// Shorter times are not compared: the collector and the compiler may take them from any run.
const leastMs = 25;
// Other processes may delay any run, but hardly all of them.
const looks = 5;
const longer = 4;

// What means something to a parser of HTTP, SPOP, GoReplay, HAR, logs or URLs, alone and in pairs.
const marks = [..." \t\r\n,;:=&%/?#\"'\\{}[]()@+-_.$^|a1\0\x7f\x80\xff"];
const words = [
  ..."\r\n|: |; |, |a |a,|a:b\r\n|a: b\n|\n\n|\r\n\r\n|a=b; |a=b&|%41|../|http://a/|1\r\na\r\n|\n1 a 1 1\n|\n2 a 1 1\nHTTP/1.1 100\n\n".split(
    "|",
  ),
  ...'[{|{"a":|"a",|"\\|\\u0041|\n🐵🙈🙉|\n🐵🙈🙉\n|1 a 1\n|GET / HTTP/1.1\n|chunked|chunked |gzip, |close, |upgrade,|: a b [c] |a:1 [a] b c 1/1/1/1/1 '.split(
    "|",
  ),
];
const surroundings = [
  ["", ""],
  ["a", "b"],
] as const;

export const allShapes: readonly Shape[] = [...marks, ...words].flatMap((unit) =>
  surroundings.map(([start, end]) => ({ unit, start, end })),
);

function toText({ unit, start, end }: Shape, bytes: number): Buffer {
  const middle = Buffer.alloc(Math.max(0, bytes - start.length - end.length), unit);
  return Buffer.concat([Buffer.from(start), middle, Buffer.from(end)]);
}

/**
 * Texts for which a reader's time grows faster than the text: reads each shape once with 16 times `smallBytes`, and 16
 * times with `smallBytes`. What seems to grow is read again with texts that are longer still: a step at some length, such as
 * that of a cache, is no growth.
 */
export async function findGrowths(
  readers: readonly Reader[],
  shapes: readonly Shape[],
  smallBytes: number,
): Promise<readonly Growth[]> {
  const found: Growth[] = [];
  for (const reader of readers) {
    for (const shape of shapes) {
      if (!(await findGrowth(reader, shape, smallBytes))) continue;
      const growth = await findGrowth(reader, shape, longer * smallBytes);
      if (growth) found.push(growth);
    }
  }
  return found;
}

async function findGrowth(reader: Reader, shape: Shape, smallBytes: number): Promise<Growth | undefined> {
  const [small, large] = [toText(shape, smallBytes), toText(shape, growths * smallBytes)];
  let [smallMs, largeMs] = [0, await measure(reader, [large])];
  for (let look = 0; look < looks && isTooSlow(smallMs, largeMs); look++) {
    smallMs = Math.min(smallMs || Number.POSITIVE_INFINITY, await measure(reader, new Array(growths).fill(small)));
    largeMs = Math.min(largeMs, await measure(reader, [large]));
  }
  return isTooSlow(smallMs, largeMs) ? { reader: reader.name, shape, smallMs, largeMs } : undefined;
}

function isTooSlow(smallMs: number, largeMs: number): boolean {
  return largeMs > leastMs && largeMs > allowed * smallMs;
}

async function measure({ read }: Reader, texts: readonly Buffer[]): Promise<number> {
  const startMs = performance.now();
  for (const text of texts) {
    const result = read(text);
    if (result instanceof Promise) await result;
  }
  return performance.now() - startMs;
}
