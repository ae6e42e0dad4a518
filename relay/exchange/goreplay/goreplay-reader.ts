import type { ByteStream } from "../byte-stream.ts";
import { type ReadItem, toReadItem } from "../imported.ts";
import { byteOrderMark, type SplitRecord, splitRecords } from "../record-splitter.ts";
import { AnswerBook } from "./answer-book.ts";
import { type GoreplayRecord, goreplayMark, parseRecord, unseparated } from "./record-parser.ts";

/** The line that separates records can also be in a body. A body is looked for in at most this many pieces. */
const maxJoined = 8;

/** What is between two separators. */
interface Piece extends SplitRecord {
  readonly bytes: Buffer;
}

/**
 * Reads the requests of a GoReplay file. Adds the primary's response to a request if it follows within 1,000 requests and
 * 16 MiB of bodies. A damaged record costs only that record.
 */
export async function* readGoreplay(stream: ByteStream, name: string, maxBytes: number): AsyncGenerator<ReadItem> {
  const answers = new AnswerBook();
  const pieces = new PieceQueue(splitRecords(stream, { mark: goreplayMark, needsLineEnd: true }, maxBytes));
  try {
    for (;;) {
      const piece = await pieces.next();
      if (!piece) break;
      const place = (offset: number) => `${name}: record ${piece.number} at byte ${offset}`;
      if (!hasBytes(piece)) {
        yield { kind: "mistake", place: place(piece.offset), reason: `the record is longer than ${maxBytes} bytes` };
        continue;
      }
      for (const { record, offset } of await readPiece(piece, pieces, maxBytes)) {
        const mistake = note(record, () => place(offset), answers);
        if (mistake) yield mistake;
      }
      yield* answers.take();
    }
    yield* answers.take({ atEnd: true });
  } finally {
    await pieces.close();
  }
}

/** Gives requests and answers to the book; returns what is damaged. */
function note(record: GoreplayRecord, place: () => string, answers: AnswerBook): ReadItem | undefined {
  if (record.kind === "ignored") return undefined;
  if (record.kind === "broken") return toReadItem(record.reason, place);
  if (record.kind === "request") {
    const item = toReadItem(record.parsed, place);
    answers.addRequest(record.id, item);
    return undefined;
  }
  answers.addAnswer(record.answer);
  return record.answer.status === undefined ? toReadItem("the response has no status line", place) : undefined;
}

interface PlacedRecord {
  readonly record: GoreplayRecord;
  readonly offset: number;
}

/** Usually one record. Takes more pieces if its body is in them. */
async function readPiece(piece: Piece, pieces: PieceQueue, maxBytes: number): Promise<readonly PlacedRecord[]> {
  const record = parseRecord(piece);
  const { offset } = piece;
  if (record.kind === "ignored" || isWhole(record)) return [{ record, offset }];
  const joined = record.kind !== "broken" && piece.closed ? await join(piece, record, pieces, maxBytes) : undefined;
  if (joined) return [{ record: joined, offset }];
  const parts = splitUnseparated(piece);
  if (parts.length === 1) return [{ record, offset }];
  return parts.map(({ bytes, closed, at }) => ({
    record: parseRecord({ ...piece, bytes, closed }),
    offset: offset + at,
  }));
}

function isWhole(record: GoreplayRecord): boolean {
  return (record.kind === "request" || record.kind === "answer") && record.whole;
}

/** Joins a record and the next pieces if its body ends exactly with one of them; else returns these pieces. */
async function join(
  piece: Piece,
  record: GoreplayRecord,
  pieces: PieceQueue,
  maxBytes: number,
): Promise<GoreplayRecord | undefined> {
  // Converted line ends make the body longer than its length.
  const missingBytes = record.kind === "request" && !piece.crlf ? record.missingBytes : undefined;
  const taken: SplitRecord[] = [];
  const parts: Buffer[] = [piece.bytes];
  let bytes = piece.bytes.length;
  let before: Piece = piece;
  while (taken.length < maxJoined) {
    const next = await pieces.next();
    if (!next) break;
    taken.push(next);
    if (!hasBytes(next)) break;
    parts.push(Buffer.from(before.crlf ? `\r${goreplayMark}\r\n` : `${goreplayMark}\n`), next.bytes);
    bytes += parts[parts.length - 2].length + next.bytes.length;
    if (bytes > maxBytes || (missingBytes !== undefined && bytes > piece.bytes.length + missingBytes)) break;
    before = next;
    if (missingBytes !== undefined && bytes < piece.bytes.length + missingBytes) continue;
    const joined = parseRecord({ bytes: Buffer.concat(parts), closed: next.closed, crlf: next.crlf });
    if (isWhole(joined)) return joined;
  }
  pieces.putBack(taken);
  return undefined;
}

/** Splits a damaged record before each first line of another record that is in it. */
function splitUnseparated({ bytes, closed }: Piece): { bytes: Buffer; closed: boolean; at: number }[] {
  const parts: { bytes: Buffer; closed: boolean; at: number }[] = [];
  let at = 0;
  for (const { index } of bytes.toString("latin1").matchAll(new RegExp(unseparated, "g"))) {
    parts.push({ bytes: bytes.subarray(at, index), closed: false, at });
    at = index + 1;
  }
  parts.push({ bytes: bytes.subarray(at), closed, at });
  return parts;
}

/** The pieces of a file, of which some can be put back. */
class PieceQueue {
  readonly #iterator: AsyncGenerator<SplitRecord>;
  #returned: readonly SplitRecord[] = [];

  constructor(pieces: AsyncGenerator<SplitRecord>) {
    this.#iterator = pieces;
  }

  async next(): Promise<SplitRecord | undefined> {
    const [first, ...others] = this.#returned;
    if (first) {
      this.#returned = others;
      return first;
    }
    const { value, done } = await this.#iterator.next();
    if (done) return undefined;
    if (value.number > 1 || !value.bytes) return value;
    return { ...value, bytes: value.bytes.subarray(byteOrderMark.test(value.bytes.toString("latin1", 0, 3)) ? 3 : 0) };
  }

  putBack(pieces: readonly SplitRecord[]): void {
    this.#returned = [...pieces, ...this.#returned];
  }

  async close(): Promise<void> {
    await this.#iterator.return(undefined);
  }
}

function hasBytes(piece: SplitRecord): piece is Piece {
  return piece.bytes !== undefined;
}
