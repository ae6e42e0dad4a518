import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { decodePack, type Pack } from "../../../relay/pack/pack.ts";
import { readMessage, shareMessage } from "../../../relay/queue/message.ts";
import type { Delivery, OutgoingMessage } from "../../../relay/queue/port.ts";
import { type PackFields, packContent } from "./captured-requests.ts";
import { groupedId } from "./pack-groups.ts";

export interface SentPackFields extends PackFields {
  /** The number of earlier attempts to send its requests. */
  readonly attempt?: number;
}

const attemptAt = 1;
const idAt = 2;

/** A decoded pack whose id follows from its agent and sequence number. */
export function pack({ attempt = 0, ...fields }: SentPackFields = {}): Pack {
  const content = packContent(fields);
  content[attemptAt] = attempt;
  content.set(groupedId(fields.agent ?? "", fields.sequence ?? 0), idAt);
  const decoded = decodePack(content);
  if (decoded instanceof DecodeError) throw decoded;
  return decoded;
}

/** The message with which an agent or a replay puts a pack into a queue. */
export function packMessage(fields: SentPackFields = {}): OutgoingMessage {
  const whole = pack(fields);
  return shareMessage(whole, whole.requests, { attempt: fields.attempt ?? 0 });
}

/** Requests with ids of their own and the paths `/0`, `/1`, … */
export function requests(count: number, changes: NonNullable<PackFields["requests"]>[number] = {}) {
  return Array.from({ length: count }, (_, i) => ({ method: "GET", body: noBytes, path: `/${i}`, id: "", ...changes }));
}

/** The first delivery of a message. */
export function delivery(message: OutgoingMessage, changes: Partial<Delivery> = {}): Delivery {
  const { body, pack } = message;
  return { messageId: "m1", receipt: "m1.1", body, pack, receiveCount: 1, sentAtMs: Date.now(), ...changes };
}

/** The pack in a message; throws if there is none. */
export function packIn(message: Pick<Delivery, "pack">): Pack {
  const decoded = readMessage(message);
  if (decoded instanceof DecodeError) throw decoded;
  return decoded;
}

const noBytes = new Uint8Array();
