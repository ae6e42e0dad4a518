import { Intake } from "../../agent/intake/intake.ts";
import { type ClosedPack, Packer } from "../../agent/intake/packer.ts";
import { createRedactor } from "../../agent/intake/redactor.ts";
import { type AgentLedger, createLedger } from "../../agent/ledger.ts";
import { Session } from "../../agent/spop/session.ts";
import type { RedactConfig } from "../../relay/config/config.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { decodePack } from "../../relay/pack/pack.ts";
import type { LoopGuard } from "../../relay/rules/loop-mark.ts";
import { Pattern } from "../../relay/rules/pattern.ts";
import type { Sample } from "../../relay/rules/sample.ts";
import type { When } from "../../relay/rules/when.ts";
import { noRedaction } from "../support/data/redact-configs.ts";
import { seededRandom } from "../support/data/seeded-random.ts";
import { completeNotifies, isPayloadOf, readAnswers } from "./ack-oracle.ts";
import { fuzzSettings } from "./fuzz-settings.ts";
import { ContentCheck } from "./model/content-check.ts";
import type { ModelRules, ModelSetting } from "./model/rules.ts";

/** An agent without its sockets, and what it should do. */
interface Half {
  readonly intake: Intake;
  readonly packer: Packer;
  readonly ledger: AgentLedger;
}

interface CheckedHalf extends Half {
  readonly check: ContentCheck;
  /** What the agent is told of its surroundings. */
  readonly world: World;
}

interface World {
  nowMs: number;
  uptimeMs: number;
  hasRoom: boolean;
}

const maxFrameBytes = 1024 * 1024;
const agent = "fuzz";
const startMs = 1_700_000_000_000;

/** Session, intake and packer, wired as in the agent, with checks. */
export class FuzzTarget {
  readonly #halves: readonly CheckedHalf[];
  #notifies = 0;
  frames = 0;
  acks = 0;
  /** The number of sessions that ended because of invalid input. */
  refused = 0;

  /** @param rulesOf the rules that an agent is told instead of those of its setting: the checks have to notice */
  constructor(rulesOf = ({ rules }: ModelSetting) => rules) {
    this.#halves = fuzzSettings.map((setting, i) => createCheckedHalf(setting, rulesOf(setting), i));
  }

  /** Feeds one connection alone, with each setting. Throws if a check fails. */
  static runAlone(chunks: readonly Buffer[]): void {
    for (const caseNumber of fuzzSettings.keys()) {
      const target = new FuzzTarget();
      target.run(caseNumber, chunks);
      target.finish();
    }
  }

  get requests(): number {
    return this.#halves.reduce((sum, { ledger }) => sum + ledger.enqueued, 0);
  }

  /** The share of the packed requests of which the model knows every byte. */
  get exactShare(): number {
    const [exact, compared] = (["exact", "compared"] as const).map((count) =>
      this.#halves.reduce((sum, { check }) => sum + check[count], 0),
    );
    return exact / Math.max(1, compared);
  }

  /** Feeds the chunks of one connection. Throws if a check fails. */
  run(caseNumber: number, chunks: readonly Buffer[]): void {
    const half = this.#halves[caseNumber % this.#halves.length];
    const { intake, packer, ledger, check, world } = half;
    const session = new Session(maxFrameBytes);
    const replies: Buffer[] = [];
    const payloads: Buffer[] = [];
    for (const bytes of chunks) {
      if (session.end) break;
      const chunk = Buffer.from(bytes);
      replies.push(session.receive(chunk));
      let malformed: DecodeError | undefined;
      session.takeNotifies((all, start, end, peerFrameBytes) => {
        const payload = Buffer.from(all.subarray(start, end));
        payloads.push(payload);
        this.#move(world);
        check.expect(payload, peerFrameBytes, world.nowMs, world.hasRoom, { caseNumber, chunks });
        try {
          intake.take(all, start, end, peerFrameBytes);
        } catch (error) {
          if (!(error instanceof DecodeError)) throw error;
          malformed = error;
        }
      });
      if (malformed && !session.end) replies.push(session.reject(malformed));
      // Overwrites the chunk: no code is allowed to read it after its tick.
      chunk.fill(0xee);
    }
    this.#check(session, Buffer.concat(chunks), Buffer.concat(replies), payloads);
    packer.closeIfDue();
    checkLedger(ledger);
    check.checkLedger(ledger);
  }

  /** Ends the packs that are open, so that all requests are compared. */
  finish(): void {
    for (const { packer } of this.#halves) packer.close();
  }

  /** Time passes, and clocks are set back; for a moment, the queue takes nothing. */
  #move(world: World): void {
    this.#notifies++;
    world.nowMs += this.#notifies % 50 === 0 ? -90 : this.#notifies % 4;
    world.uptimeMs += this.#notifies % 4;
    world.hasRoom = this.#notifies % 100 !== 99;
  }

  #check(session: Session, stream: Buffer, replies: Buffer, payloads: readonly Buffer[]): void {
    const { acks, hellos, disconnects } = readAnswers(replies);
    const expected = completeNotifies(stream, session.frames);
    // The frame that ends a session does not have to be acknowledged.
    const required = session.end ? expected.filter(({ frame }) => frame < session.frames - 1).length : expected.length;
    if (acks.length > expected.length) throw new Error(`${acks.length} ACKs for ${expected.length} NOTIFYs`);
    if (acks.length < required) throw new Error(`${acks.length} ACKs for ${required} NOTIFYs`);
    for (let i = 0; i < acks.length; i++) {
      if (acks[i] !== expected[i].ids) throw new Error(`ACK ${i} has the identifiers of another NOTIFY`);
    }
    if (payloads.length !== acks.length) {
      throw new Error(`${payloads.length} NOTIFYs were passed on, but ${acks.length} acknowledged`);
    }
    for (let i = 0; i < payloads.length; i++) {
      if (!isPayloadOf(payloads[i], expected[i], stream)) throw new Error(`NOTIFY ${i} was passed on with other bytes`);
    }
    if (acks.length > 0 && hellos !== 1) throw new Error("an ACK was sent without a HELLO");
    const saysGoodbye = session.end !== undefined && session.end.kind !== "health-check";
    if (disconnects !== Number(saysGoodbye)) throw new Error(`${disconnects} DISCONNECTs`);
    this.frames += session.frames;
    this.acks += acks.length;
    if (session.end?.kind === "refused") this.refused++;
  }
}

function createCheckedHalf(setting: ModelSetting, rules: ModelRules, index: number): CheckedHalf {
  const { fraction, stickyBy, methods, path, header, loopKey } = setting;
  const by = typeof stickyBy === "object" ? { by: "cookie" as const, name: stickyBy.cookie } : { by: "src" as const };
  const world: World = { nowMs: startMs, uptimeMs: 0, hasRoom: true };
  const check = new ContentCheck(setting, seededRandom(index));
  let packId = Buffer.alloc(16);
  const half = createHalf(
    { fraction, ...(stickyBy && { stickyBy: { ...by, missing: "in" as const } }) },
    toRedactConfig(rules),
    {
      ...(methods && { methods }),
      ...(path !== undefined && { path: new Pattern(path) }),
      ...(header && { headers: { [header[0]]: new Pattern(header[1]) } }),
    },
    {
      ...(loopKey !== undefined && { loopGuard: { header: "x-mirror-id", keys: [loopKey] } }),
      createId: () => {
        packId = Buffer.from(packId);
        packId.writeUInt32BE(packId.readUInt32BE(12) + 1, 12);
        return packId;
      },
      nowMs: () => world.nowMs,
      uptimeMs: () => world.uptimeMs,
      hasRoom: () => world.hasRoom,
      random: seededRandom(index),
      onPack: ({ content, summary }) => check.checkPack(content, summary, packId, agent),
    },
  );
  return { ...half, check, world };
}

function toRedactConfig({ key, ...rules }: ModelRules): Partial<RedactConfig> {
  return { ...rules, ...(key && { key: { env: "KEY", ...key } }) };
}

interface HalfOptions {
  readonly loopGuard?: LoopGuard;
  readonly createId?: () => Buffer;
  readonly nowMs?: () => number;
  readonly uptimeMs?: () => number;
  readonly hasRoom?: () => boolean;
  readonly random?: () => number;
  readonly onPack?: (pack: ClosedPack) => void;
}

export function createHalf(
  sample: Sample,
  redact: Partial<RedactConfig>,
  when?: When,
  { loopGuard, createId, nowMs = () => startMs, uptimeMs = () => 0, hasRoom, random, onPack }: HalfOptions = {},
): Half {
  const ledger = createLedger();
  let shipped: { readonly content: ClosedPack["content"]; readonly copy: Buffer } | undefined;
  const packer: Packer = new Packer({
    agent,
    targetBytes: 16 * 1024,
    maxRequests: 200,
    lingerMs: 250,
    ledger,
    createId: createId ?? (() => Buffer.alloc(16, 0xab)),
    hasRoom: hasRoom ?? (() => true),
    uptimeMs,
    ship: (closed) => {
      const { content, summary } = closed;
      const pack = decodePack(content);
      if (pack instanceof DecodeError) throw new Error(`a pack cannot be decoded: ${pack.message}`);
      if (pack.requests.length !== summary.count)
        throw new Error("a pack and its summary have different numbers of requests");
      onPack?.(closed);
      ledger.pending -= summary.count;
      ledger.enqueued += summary.count;
      // The shipper thread still has a pack when the next one is closed.
      if (shipped && !shipped.content.equals(shipped.copy)) throw new Error("a pack was changed after it was closed");
      if (shipped) packer.recycle(shipped.content.buffer);
      shipped = { content, copy: Buffer.from(content) };
    },
  });
  const intake = new Intake({
    sample,
    ...(when && { when }),
    ...(loopGuard && { loopGuard }),
    redactor: createRedactor({ ...noRedaction, ...redact }, ledger, { warn: () => {} }),
    ledger,
    packer,
    nowMs,
    random: random ?? (() => 0.5),
    onUnknownArgument: () => {},
    onUnusable: () => {},
    onUnknownWhole: () => {},
  });
  return { intake, packer, ledger };
}

function checkLedger(ledger: AgentLedger): void {
  const { seen, sampledOut, filtered, looped, upgrade, unreplayable, unusable, dropped, pending, enqueued } = ledger;
  const sum = (counts: ReadonlyMap<string, number>) => [...counts.values()].reduce((all, count) => all + count, 0);
  const fates =
    sampledOut + filtered + looped + upgrade + sum(unreplayable) + sum(unusable) + sum(dropped) + pending + enqueued;
  if (seen !== fates) throw new Error(`the ledger does not add up: ${seen} seen, ${fates} accounted for`);
}
