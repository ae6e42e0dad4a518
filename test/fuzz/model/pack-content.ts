import { ByteText } from "./byte-text.ts";

interface PackedOutcome {
  /** -1 if it was not sent; so are the next two. */
  readonly status: number;
  readonly timeMs: number;
  readonly bytes: number;
  readonly digest: string;
  readonly headers: readonly string[] | undefined;
}

/** A request as it is in a pack. Texts have one character per byte. */
export interface PackedRecord {
  readonly index: number;
  readonly capturedAtMs: number;
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly version: string;
  /** 4 or 16 bytes if it is an address. */
  readonly src: string;
  readonly srcIsAddress: boolean;
  readonly headers: readonly string[];
  readonly body: string;
  readonly bodyState: string;
  readonly outcome: PackedOutcome | undefined;
}

export interface PackContent {
  readonly version: number;
  readonly attempt: number;
  readonly id: string;
  readonly firstMs: number;
  readonly sequence: number;
  readonly agent: string;
  readonly records: readonly PackedRecord[];
}

/** Reads a pack by the layout that `PackWriter` describes. Throws at the first byte that does not follow it. */
export function readPackContent(content: Buffer): PackContent {
  const bytes = new ByteText(content.toString("latin1"));
  const version = present(bytes.byte());
  const attempt = present(bytes.byte());
  const id = Buffer.from(present(bytes.take(16)), "latin1").toString("hex");
  const firstMs = present(bytes.unsigned(6));
  const count = present(bytes.unsigned(4));
  const sequence = present(bytes.integer());
  const agent = present(bytes.string());
  const records = Array.from({ length: count }, () => readRecord(new ByteText(present(bytes.string())), firstMs));
  if (!bytes.isAtEnd) throw new Error("bytes follow the last record of a pack");
  return { version, attempt, id, firstMs, sequence, agent, records };
}

function readRecord(bytes: ByteText, firstMs: number): PackedRecord {
  const flags = present(bytes.byte());
  const record = {
    index: present(bytes.integer()),
    capturedAtMs: firstMs + present(bytes.integer()),
    id: present(bytes.string()),
    method: present(bytes.string()),
    path: present(bytes.string()),
    version: present(bytes.string()),
    src: present(bytes.string()),
    srcIsAddress: (flags & 4) > 0,
    headers: readStrings(present(bytes.string())),
    body: present(bytes.string()),
    bodyState: present(["complete", "truncated", "omitted"][flags & 3]),
    outcome: (flags & 8) > 0 ? readOutcome(bytes, (flags & 16) > 0) : undefined,
  };
  if (!bytes.isAtEnd) throw new Error("bytes follow the last part of a record");
  return record;
}

function readOutcome(bytes: ByteText, hasHeaders: boolean): PackedOutcome {
  return {
    status: present(bytes.integer()) - 1,
    timeMs: present(bytes.integer()) - 1,
    bytes: present(bytes.integer()) - 1,
    digest: present(bytes.string()),
    headers: hasHeaders ? readStrings(present(bytes.string())) : undefined,
  };
}

function readStrings(block: string): string[] {
  const bytes = new ByteText(block);
  const strings: string[] = [];
  while (!bytes.isAtEnd) strings.push(present(bytes.string()));
  return strings;
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a pack ends too early");
  return value;
}
