import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { encodeJournalRecord, JournalSegment } from "../../../agent/shipper/journal-segment.ts";
import { packContent } from "../../support/data/captured-requests.ts";
import { assertTrue, type FileKind } from "./file-kind.ts";

const head = Buffer.from("SRJ1\0\x06edge~1", "latin1");
const record = (requests: number) =>
  encodeJournalRecord({ body: `{"v":1,"count":${requests}}`, pack: packContent(), requests });
const done = record(9);
done.writeUInt32BE((done.readUInt32BE(0) | 0x8000_0000) >>> 0);

/** A file of the agent's journal, as a crash or a bad disk leaves it. */
export const journals: FileKind = {
  name: "journal",
  seeds: [
    { bytes: Buffer.concat([head, record(1), done, record(3)]), accepted: 4, refused: 0 },
    { bytes: head, accepted: 0, refused: 0 },
  ],
  share: 20,
  marks: ["SRJ1", "\0\0\0\x08", "\x80\0\0\x08", "\0\0\0\0", "\xff\xff\xff\xff"],
  mend: (bytes) => {
    const mended = Buffer.from(bytes);
    for (let at = head.length; at + 8 <= mended.length; ) {
      const end = at + 8 + (mended.readUInt32BE(at) & 0x7fff_ffff);
      if (end > mended.length) break;
      mended.writeUInt32BE(crc32(mended.subarray(at + 8, end)), at + 4);
      at = end;
    }
    return mended;
  },
  read: (bytes) => {
    const directory = mkdtempSync(join(tmpdir(), "fuzz-"));
    try {
      const path = join(directory, "segment");
      writeFileSync(path, bytes);
      const { segment, damaged } = JournalSegment.recover(path);
      const announced = segment.requestsIn("waiting");
      let [accepted, lost] = [0, damaged];
      while (segment.waiting > 0) {
        const { index, message, requests } = segment.take();
        if (message) {
          accepted += requests;
          assertTrue(message.pack.length + message.body.length <= bytes.length, "a message is longer than its file");
        } else lost++;
        segment.done(index);
      }
      assertTrue(segment.open === 0 && accepted === announced, "a journal does not give what it announces");
      segment.close();
      assertTrue(JournalSegment.recover(path).segment.open === 0, "a record is there again after it was done");
      return { accepted, refused: lost };
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
};
