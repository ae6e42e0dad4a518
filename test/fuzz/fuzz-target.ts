import { Intake } from "../../agent/intake/intake.ts";
import { Packer } from "../../agent/intake/packer.ts";
import { createRedactor } from "../../agent/intake/redactor.ts";
import { type AgentLedger, createLedger } from "../../agent/ledger.ts";
import { Session } from "../../agent/spop/session.ts";
import type { RedactConfig } from "../../relay/config/config.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { decodePack } from "../../relay/pack/pack.ts";
import { Pattern } from "../../relay/rules/pattern.ts";
import type { Sample } from "../../relay/rules/sample.ts";
import type { When } from "../../relay/rules/when.ts";
import { noRedaction } from "../support/data/redact-configs.ts";
import { completeNotifies, isPayloadOf, readAnswers } from "./ack-oracle.ts";

interface Half {
  readonly intake: Intake;
  readonly ledger: AgentLedger;
}

const everyRule: Partial<RedactConfig> = {
  headers: ["cookie", "h*t"],
  query: ["*"],
  form: ["a*"],
  json: [["**", "a*"]],
  dropBodies: [{ type: "image/*" }],
  key: { env: "KEY", value: "a key of the fuzz test" },
};

const maxFrameBytes = 1024 * 1024;

/** Session, intake and packer, wired as in the agent, with checks. */
export class FuzzTarget {
  readonly #halves: readonly Half[] = [
    createHalf({ fraction: 1 }, {}),
    createHalf({ fraction: 0.5, stickyBy: { by: "src", missing: "in" } }, everyRule, {
      methods: ["GET", "POST"],
      path: new Pattern("^/api"),
    }),
  ];
  frames = 0;
  acks = 0;
  /** The number of sessions that ended because of invalid input. */
  refused = 0;

  get requests(): number {
    return this.#halves.reduce((sum, { ledger }) => sum + ledger.enqueued, 0);
  }

  /** Feeds the chunks of one connection. Throws if a check fails. */
  run(caseNumber: number, chunks: readonly Buffer[]): void {
    const { intake, ledger } = this.#halves[caseNumber % this.#halves.length];
    const session = new Session(maxFrameBytes);
    const replies: Buffer[] = [];
    const payloads: Buffer[] = [];
    for (const bytes of chunks) {
      if (session.end) break;
      const chunk = Buffer.from(bytes);
      replies.push(session.receive(chunk));
      let malformed: DecodeError | undefined;
      session.takeNotifies((all, start, end, peerFrameBytes) => {
        payloads.push(Buffer.from(all.subarray(start, end)));
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
    checkLedger(ledger);
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

export function createHalf(sample: Sample, redact: Partial<RedactConfig>, when?: When): Half {
  const ledger = createLedger();
  const packer: Packer = new Packer({
    agent: "fuzz",
    targetBytes: 16 * 1024,
    maxRequests: 200,
    lingerMs: 250,
    ledger,
    createId: () => Buffer.alloc(16, 0xab),
    hasRoom: () => true,
    ship: ({ content, summary }) => {
      const pack = decodePack(content);
      if (pack instanceof DecodeError) throw new Error(`a pack cannot be decoded: ${pack.message}`);
      if (pack.requests.length !== summary.count)
        throw new Error("a pack and its summary have different numbers of requests");
      ledger.pending -= summary.count;
      ledger.enqueued += summary.count;
      packer.recycle(content.buffer);
    },
  });
  const intake = new Intake({
    sample,
    ...(when && { when }),
    redactor: createRedactor({ ...noRedaction, ...redact }, ledger, { warn: () => {} }),
    ledger,
    packer,
    nowMs: () => 1_700_000_000_000,
    random: () => 0.5,
    onUnknownArgument: () => {},
    onUnusable: () => {},
    onUnknownWhole: () => {},
  });
  return { intake, ledger };
}

function checkLedger(ledger: AgentLedger): void {
  const { seen, sampledOut, filtered, looped, upgrade, unreplayable, unusable, dropped, pending, enqueued } = ledger;
  const sum = (counts: ReadonlyMap<string, number>) => [...counts.values()].reduce((all, count) => all + count, 0);
  const fates =
    sampledOut + filtered + looped + upgrade + sum(unreplayable) + sum(unusable) + sum(dropped) + pending + enqueued;
  if (seen !== fates) throw new Error(`the ledger does not add up: ${seen} seen, ${fates} accounted for`);
}
