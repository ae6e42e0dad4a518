import {
  appendFileSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { Journal, JournalError, type JournalOptions, type Ticket } from "../../../agent/shipper/journal.ts";
import type { OutgoingMessage } from "../../../relay/queue/port.ts";
import { ChildScript } from "../../support/processes/child-script.ts";

const mebibyte = 1024 * 1024;
let directory: string;
let lost: { reason: string; requests: number; recovered: boolean }[];
let exposed: number;
const opened: Journal[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-journal-"));
  lost = [];
  exposed = 0;
});

afterEach(() => {
  for (const journal of opened.splice(0)) journal.close();
  rmSync(directory, { recursive: true, force: true });
});

describe("the journal", () => {
  it("returns released packs in order, with every byte", () => {
    const journal = open();
    const sent = [message(1), message(2), message(3)];
    for (const one of sent) journal.release(journal.append(one) as Ticket);
    expect(journal.waiting).toBe(3);
    expect(takeAll(journal).map(plain)).toEqual(sent.map(plain));
    expect(journal.waiting).toBe(0);
  });

  it("does not return packs that are still held in memory", () => {
    const journal = open();
    journal.append(message(1));
    expect(journal.take()).toBeUndefined();
  });

  it("returns a released pack again", () => {
    const journal = open();
    journal.release(journal.append(message(1)) as Ticket);
    const first = journal.take();
    journal.release(first?.ticket as Ticket);
    expect(plain(journal.take()?.message)).toEqual(plain(message(1)));
  });

  it("frees the disk once all packs of a segment are done", () => {
    const journal = open();
    const tickets = Array.from({ length: 40 }, (_, i) => journal.append(message(i, mebibyte / 4)) as Ticket);
    expect(segments().length).toBe(3);
    for (const ticket of tickets) journal.done(ticket);
    expect(segments().length).toBeLessThanOrEqual(1);
    expect(journal.bytes).toBeLessThan(5 * mebibyte);
  });

  it("erases a pack that is done, although others of its segment are not", () => {
    const journal = open();
    const packs = [1, 2, 3].map((i) => Buffer.alloc(20_000, `secret ${i} `));
    const tickets = packs.map((pack) => journal.append({ ...message(1), pack }) as Ticket);
    journal.done(tickets[0]);
    journal.done(tickets[2]);
    const content = Buffer.concat(segments().map((path) => readFileSync(path)));

    expect(packs.map((_, i) => content.includes(`secret ${i + 1}`))).toEqual([false, true, false]);
    expect(reopen().recovery).toMatchObject({ packs: 1, damaged: 0 });
  });

  it("leaves no segment after it is closed without open packs", () => {
    const journal = open();
    journal.done(journal.append(message(1)) as Ticket);
    journal.close();
    expect(segments()).toEqual([]);
  });
});

describe("a journal after a crash", () => {
  it("has every pack that was not done, both held and released ones", () => {
    const journal = open();
    const [first, second] = [journal.append(message(1)), journal.append(message(2))] as Ticket[];
    journal.append(message(3));
    journal.release(second);
    journal.done(first);
    const next = reopen();
    expect(next.recovery).toEqual({ packs: 2, requests: 5, damaged: 0 });
    expect(takeAll(next).map(plain)).toEqual([message(2), message(3)].map(plain));
  });

  it.each([1, 5, 12, 300])("loses only the last record when its last %i bytes are missing", (bytes) => {
    const journal = open();
    for (const i of [1, 2, 3]) journal.append(message(i));
    const [file] = segments();
    truncateSync(file, statSync(file).size - bytes);
    const next = reopen();
    expect(next.recovery).toEqual({ packs: 2, requests: 3, damaged: 1 });
    expect(takeAll(next).map(plain)).toEqual([message(1), message(2)].map(plain));
  });

  it("loses only a record whose bytes have changed", () => {
    const journal = open();
    for (const i of [1, 2, 3]) journal.append(message(i));
    const [file] = segments();
    const bytes = readFileSync(file);
    bytes[Math.floor(bytes.length / 2)] ^= 1;
    writeFileSync(file, bytes);
    const next = reopen();
    expect(next.recovery).toEqual({ packs: 2, requests: 4, damaged: 1 });
    expect(takeAll(next).map(plain)).toEqual([message(1), message(3)].map(plain));
  });

  it("recovers its packs despite a wrong length, an empty file and a file that is not a segment", () => {
    const journal = open();
    journal.append(message(1));
    appendFileSync(segments()[0], Buffer.from("ffffffff00000000", "hex"));
    writeFileSync(join(directory, "0000000007.seg"), "");
    writeFileSync(join(directory, "0000000008.seg"), "no segment at all");
    const next = reopen();
    expect(next.recovery).toEqual({ packs: 1, requests: 1, damaged: 2 });
    expect(takeAll(next).map(plain)).toEqual([plain(message(1))]);
  });

  it("removes segments of the earlier process when their packs are done, and writes to new ones", () => {
    const journal = open();
    journal.append(message(1));
    const next = reopen();
    const [old] = segments();
    const taken = next.take();
    next.append(message(2));
    next.done(taken?.ticket as Ticket);
    expect(segments()).not.toContain(old);
    expect(segments().length).toBe(1);
  });
});

describe("a full journal", () => {
  it("drops the oldest packs, and reports the number of their requests", () => {
    const journal = open({ maxBytes: 10 * mebibyte });
    for (let i = 0; i < 15; i++) journal.release(journal.append(message(i, mebibyte - 100)) as Ticket);
    expect(journal.bytes).toBeLessThanOrEqual(10 * mebibyte);
    const kept = takeAll(journal);
    expect(kept.length).toBeGreaterThanOrEqual(6);
    expect(kept.at(-1)?.requests).toBe(14);
    const lostRequests = lost.reduce((sum, { requests }) => sum + requests, 0);
    const keptRequests = kept.reduce((sum, { requests }) => sum + requests, 0);
    expect(lostRequests + keptRequests).toBe(105);
    expect(new Set(lost.map(({ reason }) => reason))).toEqual(new Set(["journal full"]));
  });

  it("drops new packs with `drop-newest`, and reports their requests", () => {
    const journal = open({ maxBytes: 3 * mebibyte, whenFull: "drop-newest" });
    const tickets = [1, 2, 3, 4].map((i) => journal.append(message(i, mebibyte - 100)));
    expect(tickets.map((ticket) => ticket !== undefined)).toEqual([true, true, true, false]);
    expect(lost).toEqual([{ reason: "journal full", requests: 4, recovered: false }]);
  });

  it("does not release a pack from memory if its segment was removed to make room", () => {
    const journal = open({ maxBytes: 5 * mebibyte });
    const held = journal.append(message(1, mebibyte - 100)) as Ticket;
    for (let i = 0; i < 9; i++) journal.append(message(i, mebibyte - 100));
    expect(journal.release(held)).toBe(false);
    expect(journal.keeps(held)).toBe(false);
    expect(exposed).toBeGreaterThan(0);
    expect(lost).toEqual([]);
  });
});

describe("a small journal", () => {
  it.each(["drop-oldest", "drop-newest"] as const)(
    "accepts packs without end while the queue accepts them, with %s",
    (whenFull) => {
      const journal = open({ maxBytes: mebibyte, whenFull });
      for (let i = 0; i < 400; i++) journal.done(journal.append(message(1, 60_000)) as Ticket);
      expect(lost).toEqual([]);
      expect(reopen().recovery.packs).toBe(0);
    },
  );

  it("refuses a pack larger than itself and keeps the others", () => {
    const journal = open({ maxBytes: mebibyte });
    journal.release(journal.append(message(3)) as Ticket);
    expect(journal.append(message(7, 2 * mebibyte))).toBeUndefined();
    expect(lost).toEqual([{ reason: "journal full", requests: 7, recovered: false }]);
    expect(journal.waiting).toBe(1);
  });
});

describe("a journal in use", () => {
  it("is not opened by a second process, and the error names the directory and the first one", async () => {
    const other = new ChildScript("lock-holder.ts", [directory, "spoa-relay agent", "journal-lock"]);
    onTestFinished(() => other.kill());
    await other.printed(1);

    expect(() => open()).toThrow(JournalError);
    expect(() => open()).toThrow(
      `agent.journal.directory: ${directory} is in use by process ${other.process.pid} (spoa-relay agent, since `,
    );
    expect(() => open()).toThrow(/Z\): stop that agent, or choose another directory$/);
  });

  it("is opened once the process that locked it is killed", async () => {
    const other = new ChildScript("lock-holder.ts", [directory, "spoa-relay agent", "journal-lock"]);
    await other.printed(1);
    await other.kill();

    expect(open().recovery.packs).toBe(0);
  });
});

function open(changes: Partial<JournalOptions> = {}): Journal {
  const journal = Journal.open({
    directory,
    run: "edge-1~0badcafe",
    onExposed: (requests) => {
      exposed += requests;
    },
    maxBytes: 64 * mebibyte,
    whenFull: "drop-oldest",
    onLost: (reason, requests, recovered) => lost.push({ reason, requests, recovered }),
    ...changes,
  });
  opened.push(journal);
  return journal;
}

/** Opens what the next process would find after a crash: a copy, because the first journal still has its lock. */
function reopen(): Journal {
  const crashed = directory;
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-journal-"));
  for (const file of readdirSync(crashed)) {
    if (file.endsWith(".seg")) copyFileSync(join(crashed, file), join(directory, file));
  }
  onTestFinished(() => rmSync(crashed, { recursive: true, force: true }));
  return open();
}

/** A message with `requests` requests; another number gives other bytes. */
function message(requests: number, packBytes = 500): OutgoingMessage {
  const pack = Buffer.from(Array.from({ length: Math.min(packBytes, 500) }, (_, i) => (i * 31 + requests) & 255));
  return {
    body: `{"requests":${requests},"ü":1}`,
    pack: packBytes > 500 ? Buffer.concat([pack, Buffer.alloc(packBytes - 500)]) : pack,
    requests,
  };
}

function takeAll(journal: Journal): OutgoingMessage[] {
  const messages: OutgoingMessage[] = [];
  for (let taken = journal.take(); taken; taken = journal.take()) messages.push(taken.message);
  return messages;
}

function plain(one: OutgoingMessage | undefined) {
  return one && { body: one.body, requests: one.requests, pack: Buffer.from(one.pack).toString("hex") };
}

function segments(): string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith(".seg"))
    .sort()
    .map((name) => join(directory, name));
}
