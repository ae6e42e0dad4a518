import { nameAt, parseObjectName, toObjectName } from "../../../relay/capture/object-name.ts";
import { parseIsoMoment, parseMoment } from "../../../relay/config/moment.ts";
import { parseTimes } from "../../../relay/config/time-windows.ts";
import { parseDurationMs, parseRatePerSecond, parseSizeBytes } from "../../../relay/config/units.ts";
import { parseLogTime } from "../../../relay/exchange/log-time.ts";
import { readStoredRound } from "../../../relay/state/stored-round.ts";
import { parseControl } from "../../../relay/state/target-control.ts";
import { assertSame, assertTrue, type FileKind } from "./file-kind.ts";

const name = toObjectName(
  "shop",
  { firstMs: 1_767_323_045_678, lastMs: 1_767_323_046_000, requests: 12 },
  "0".repeat(32),
);
const nowMs = 1_767_323_045_678;

/** Names of the objects of an archive. */
export const objectNames: FileKind = {
  name: "object name",
  seeds: [{ bytes: Buffer.from(name), accepted: 1, refused: 0 }],
  share: 15,
  marks: ["~", "/", "shop", "0", "20260230T000000.000Z", ".packs", "99991231T235959.999Z", "..", "f"],
  read: (bytes) => {
    const text = bytes.toString();
    const object = parseObjectName("shop", { name: text, bytes: 5 });
    if (!object) return { accepted: 0, refused: 1 };
    const hash = /~([0-9a-f]{32})\.packs$/.exec(text)?.[1] ?? "";
    assertSame(toObjectName("shop", object, hash), text, "the name of an object, made again");
    assertTrue(text.startsWith(nameAt("shop", object.firstMs)), "an object is in the folder of another hour");
    return { accepted: 1, refused: 0 };
  },
};

/** Times, durations, rates and sizes, one a line. */
export const amounts: FileKind = {
  name: "amount",
  seeds: [
    {
      bytes: Buffer.from(
        "2026-11-20T18:00:00Z\n-2h\n250ms\n200/s\n48KiB\n22:00-06:00 Europe/Berlin\n06/Feb/2026:12:14:14 +0100\n",
      ),
      accepted: 7,
      refused: 0,
    },
  ],
  share: 15,
  marks: [
    ..."+14:00 -00:00 T24:00 :60 e9 . , / s min KiB Mon-Fri Sun,Mon- UTC Etc/GMT+99 00:00-24:00 24:00 \0 ٣".split(" "),
    " ",
  ],
  read: (bytes) => {
    let [accepted, refused] = [0, 0];
    for (const line of bytes.toString().split("\n")) {
      const moment = parseMoment(line, nowMs);
      const results = [
        moment,
        parseDurationMs(line),
        parseRatePerSecond(line),
        parseSizeBytes(line),
        parseLogTime(line, "Europe/Berlin"),
      ];
      for (const result of results) {
        assertTrue(
          result === undefined || (!Number.isNaN(result) && (result >= 0 || result === moment)),
          () => `${line} is ${result}`,
        );
      }
      // It can be written as a time.
      if (moment !== undefined) new Date(moment).toISOString();
      const iso = parseIsoMoment(line);
      if (iso !== undefined) assertSame(parseIsoMoment(new Date(iso).toISOString()), iso, "a moment, written again");
      const found = results.filter((result) => result !== undefined).length + (parseTimes(line) ? 1 : 0);
      accepted += found;
      refused += found === 0 && line !== "" ? 1 : 0;
    }
    return { accepted, refused };
  },
};

const control = {
  settings: { ratePerSecond: 5, concurrency: 3, sample: 0.5, paused: true },
  breaker: { openedAtMs: nowMs, probeAtMs: nowMs + 5, probes: 3, reason: "refused" },
  slowdown: { factor: 0.25, atMs: nowMs },
  queue: "https://sqs.eu-central-1.amazonaws.com/1/a",
};
const round = {
  number: 7,
  startUs: 1e15,
  endUs: 1e15 + 5e5,
  closeUs: 1e15,
  seats: 3,
  slotUs: 5_000,
  firstSlot: 9,
  firstUs: 1e15,
  entered: 2,
};

/** Rows of the state, which somebody may have changed by hand. */
export const stateRows: FileKind = {
  name: "state row",
  // A round is no control: its numbers are ignored, and named.
  seeds: [control, round].map((row) => ({
    bytes: Buffer.from(JSON.stringify(row)),
    accepted: 1,
    refused: row === round ? 1 : 0,
  })),
  share: 25,
  marks: [
    '"paused":',
    '"ratePerSecond":',
    "null",
    "{}",
    "[]",
    '"',
    "unlimited",
    "1e999",
    "-1",
    "0.5",
    '"factor":0',
    "__proto__",
  ],
  read: (bytes) => {
    const text = bytes.toString();
    const { control: found, repairs = [] } = parseControl(text);
    assertSame(parseControl(JSON.stringify(found)), { control: found }, "a control, written again");
    const { ratePerSecond: rate = 1, sample = 0, concurrency = 1 } = found.settings ?? {};
    assertTrue(rate === "unlimited" || (rate > 0 && rate <= 1e6), () => `the rate is ${rate}`);
    assertTrue(sample >= 0 && sample <= 1 && Number.isInteger(concurrency), "a setting is out of bounds");
    let row: Readonly<Record<string, unknown>>;
    try {
      row = Object(JSON.parse(text));
    } catch {
      return { accepted: 0, refused: 1 };
    }
    // Whatever somebody has written instead of true: nothing is sent to a target that was to be paused.
    const { paused = false } = Object(row.settings ?? undefined);
    const isPaused = typeof row.settings === "object" && !Array.isArray(row.settings) && paused !== false;
    assertTrue(!isPaused || found.settings?.paused === true, "a paused target goes on");
    const table = readStoredRound((field) => Number(row[field] ?? Number.NaN));
    for (const value of Object.values(table?.round ?? {})) assertTrue(Number.isFinite(value), "a round has no number");
    return { accepted: 1, refused: repairs.length > 0 ? 1 : 0 };
  },
};
