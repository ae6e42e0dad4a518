import { seededRandom } from "../support/data/seeded-random.ts";
import type { GoldenFile } from "../support/spop/golden-frames.ts";
import { readReferenceVarint } from "../support/spop/reference-varint.ts";
import { bin, headersBinary, headersText, notify, nul, str } from "../support/spop/spop-frames.ts";
import { secretNotify } from "./secret-requests.ts";

/** A recorded frame, or the frames of one fragmented message. */
interface Unit {
  readonly frames: readonly Buffer[];
  /** For each frame: the offsets of lengths, counts and types. */
  readonly structure: readonly (readonly number[])[];
}

type Random = () => number;

const notifyType = 3;
const helloType = 1;
const disconnectType = 2;
const idAt = 9;
// A frame's length has 4 bytes; a change of the last one makes a wrong but plausible length.
const lastLengthByteAt = 3;
// Zero, the largest value, the limits of one-byte varints and of signed numbers, and the values where varints become longer.
const interestingBytes = [0x00, 0x01, 0x7f, 0x80, 0xef, 0xf0, 0xff];
const longBytes = 1_500;
const secretUnits = 1_000;
// To make a request takes longer than all else: most are used many times.
const freshShare = 0.05;

const head = [
  ["method", str("GET")],
  ["pathq", str("/api/v1?a=b")],
] as const;
// Not in the recordings: a mirrored request, headers as text, a response, and a NOTIFY without messages.
const unrecorded = [
  notify({ messages: [{ args: [...head, ["hdrs", bin(headersBinary(["x-mirror-id", "1", "host", "a"]))]] }] }),
  notify({
    messages: [{ args: [...head, ["hdrs", str(headersText(["Host", "a", "Cookie", "b=c"]))], ["body", nul]] }],
  }),
  notify({ messages: [{ args: [...head, ["status", nul], ["res_hdrs", bin(headersBinary(["age", "1"]))]] }] }),
  notify({ messages: [] }),
].map((frame) => ({ frames: [frame] }));

/** Makes streams from recorded frames, cut into arbitrary chunks. Some are as HAProxy would send them, most are damaged. */
export class Mutator {
  readonly #seed: number;
  readonly #hellos: readonly Unit[];
  readonly #healthChecks: readonly Unit[];
  readonly #short: readonly Unit[];
  readonly #long: readonly Unit[];
  readonly #disconnects: readonly Unit[];
  readonly #secret: readonly Unit[];

  constructor(seed: number, files: readonly GoldenFile[]) {
    const units = files.map(toUnit);
    const ofType = (type: number) => units.filter(({ frames }) => frames[0][4] === type);
    const isHealthCheck = ({ frames }: Unit) => frames[0].includes("healthcheck");
    const notifies = ofType(notifyType);
    this.#seed = seed;
    this.#hellos = ofType(helloType).filter((unit) => !isHealthCheck(unit));
    this.#healthChecks = ofType(helloType).filter(isHealthCheck);
    this.#disconnects = ofType(disconnectType);
    this.#short = [...notifies.filter((unit) => bytesOf(unit) < longBytes), ...unrecorded.map(toUnit)];
    const random = seededRandom(seed);
    this.#secret = Array.from({ length: secretUnits }, () => toUnit({ frames: [secretNotify(random)] }));
    this.#long = notifies.filter((unit) => bytesOf(unit) >= longBytes);
  }

  /** The chunks of a connection: the same for the same seed and number. */
  chunks(caseNumber: number): Buffer[] {
    const random = seededRandom(Math.imul(this.#seed, 0x9e37_79b1) + Math.imul(caseNumber, 0x85eb_ca6b));
    for (let i = 0; i < 3; i++) random();
    return split(this.#stream(random), random);
  }

  #stream(random: Random): Buffer {
    const frames: Buffer[] = [];
    const damaged = random() < 0.75;
    const hellos = random() < 0.02 ? this.#healthChecks : this.#hellos;
    if (random() < 0.98) frames.push(...this.#take(hellos, random, damaged && random() < 0.05));
    const count = 1 + Math.floor(random() * 24);
    // One or two damages for each connection: with more, none would last long enough to reach deeper code.
    const wounds = damaged ? [random() * count, random() < 0.5 ? random() * count : -1].map(Math.floor) : [];
    for (let i = 0; i < count; i++) {
      const units = random() < freshShare ? [toUnit({ frames: [secretNotify(random)] })] : this.#unitsOf(random());
      frames.push(...this.#take(units, random, wounds.includes(i)));
    }
    if (damaged && random() < 0.1) shuffleTwo(frames, random);
    const stream = Buffer.concat(frames);
    return damaged && random() < 0.1 ? stream.subarray(0, below(stream.length, random)) : stream;
  }

  #unitsOf(share: number): readonly Unit[] {
    if (share < 0.01) return this.#long;
    if (share < 0.015) return this.#disconnects;
    return share < 0.5 ? this.#secret : this.#short;
  }

  #take(units: readonly Unit[], random: Random, wound: boolean): Buffer[] {
    const unit = pick(units, random);
    const hurt = wound ? below(unit.frames.length, random) : -1;
    // A different identifier each time, so that the check detects an ACK of another NOTIFY.
    const streamId = below(240, random);
    return unit.frames.map((frame, i) => {
      const copy = Buffer.from(frame);
      if (copy[idAt] < 240 && unit.frames[0][4] === notifyType) copy[idAt] = streamId;
      return i === hurt ? this.#damage(copy, unit.structure[i], random) : copy;
    });
  }

  #damage(frame: Buffer, structure: readonly number[], random: Random): Buffer {
    const at = below(frame.length, random);
    switch (below(9, random)) {
      case 0:
        frame[at] ^= 1 << below(8, random);
        return frame;
      case 1:
        for (let i = 0; i < 8; i++) frame[below(frame.length, random)] ^= 1 << below(8, random);
        return frame;
      case 2:
        frame[at] = random() < 0.5 ? pick(interestingBytes, random) : below(256, random);
        return frame;
      case 3:
      case 4: {
        if (structure.length === 0) return frame;
        const lying = pick(structure, random);
        frame[lying] = random() < 0.5 ? pick(interestingBytes, random) : frame[lying] + below(9, random) - 4;
        return frame;
      }
      case 5:
        frame[random() < 0.8 ? lastLengthByteAt : below(4, random)] += below(17, random) - 8;
        return frame;
      case 6:
        return mended(frame.subarray(0, at), random);
      case 7: {
        const other = pick(pick(random() < 0.5 ? this.#secret : this.#short, random).frames, random);
        const from = below(other.length, random);
        const part = other.subarray(from, from + below(other.length - from, random));
        const behind = frame.subarray(random() < 0.5 ? at : Math.min(frame.length, at + part.length));
        return mended(Buffer.concat([frame.subarray(0, at), part, behind]), random);
      }
      default:
        return mended(Buffer.concat([frame.subarray(0, at), frame.subarray(at + below(32, random))]), random);
    }
  }
}

/** Mostly corrects the length afterwards, so that the following frames are found. */
function mended(frame: Buffer, random: Random): Buffer {
  if (frame.length >= 4 && random() < 0.8) frame.writeUInt32BE(frame.length - 4);
  return frame;
}

function split(stream: Buffer, random: Random): Buffer[] {
  const how = random();
  if (how < 0.5 || stream.length < 2) return [stream];
  if (how < 0.53 && stream.length < 600) return [...stream].map((byte) => Buffer.of(byte));
  const cuts = Array.from({ length: 1 + below(6, random) }, () => below(stream.length, random)).sort((a, b) => a - b);
  return [0, ...cuts].map((from, i) => stream.subarray(from, cuts[i] ?? stream.length));
}

function shuffleTwo(frames: Buffer[], random: Random): void {
  const [a, b] = [below(frames.length, random), below(frames.length, random)];
  [frames[a], frames[b]] = [frames[b], frames[a]];
}

function toUnit({ frames }: Pick<GoldenFile, "frames">): Unit {
  return { frames, structure: frames.map(structureOf) };
}

function bytesOf({ frames }: Unit): number {
  return frames.reduce((sum, frame) => sum + frame.length, 0);
}

/** The offsets of the lengths, counts and types in a NOTIFY, and of its own type, flags and identifiers. */
function structureOf(frame: Buffer): number[] {
  const offsets = [4, 8];
  let at = idAt;
  for (let i = 0; i < 2; i++) {
    offsets.push(at);
    at = readReferenceVarint(frame, at).next;
  }
  // A continuation frame starts anywhere in a message: its payload has no known offsets.
  if (frame[4] !== notifyType) return offsets;
  const skipString = (): void => {
    offsets.push(at);
    const { value, next } = readReferenceVarint(frame, at);
    at = next + Number(value);
  };
  while (at < frame.length) {
    skipString();
    offsets.push(at);
    const argumentCount = frame[at++];
    for (let i = 0; i < argumentCount && at < frame.length; i++) {
      skipString();
      offsets.push(at);
      const type = frame[at++] & 15;
      if (type === 8 || type === 9) skipString();
      else if (type === 6 || type === 7) at += type === 6 ? 4 : 16;
      else if (type >= 2 && type <= 5) at = readReferenceVarint(frame, at).next;
    }
  }
  return offsets.filter((offset) => offset < frame.length);
}

function below(limit: number, random: Random): number {
  return Math.floor(random() * limit);
}

function pick<T>(values: readonly T[], random: Random): T {
  return values[below(values.length, random)];
}
