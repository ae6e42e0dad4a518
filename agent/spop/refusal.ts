import { DecodeError } from "../../relay/pack/decode-error.ts";
import { statusCode } from "./frame.ts";
import { FrameTooBig } from "./frame-splitter.ts";
import { helloMistake } from "./handshake.ts";

/** Why the agent ends a session: the status and the text of its DISCONNECT. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, text: string) {
    super(text);
    this.name = "Refusal";
    this.status = status;
  }
}

export const onlyHaproxy = "only HAProxy's filter spoe may connect to this port";

/** Says what is wrong with the peer's bytes. Throws `error` again if it is not about them. */
export function toRefusal(error: unknown, greeted: boolean): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof FrameTooBig && !greeted) {
    return new Refusal(
      statusCode.invalidFrame,
      helloMistake(error.announcedBytes) ?? `these bytes are not a HAPROXY-HELLO: ${onlyHaproxy}`,
    );
  }
  if (error instanceof FrameTooBig) {
    return new Refusal(statusCode.tooBig, `${error.message}: check max-frame-size in spoe-agent and tune.bufsize`);
  }
  // The offset is left out: it counts from the start of a chunk, which means nothing to the operator.
  if (error instanceof DecodeError) {
    return new Refusal(statusCode.invalidFrame, `malformed frame (${error.code}): ${onlyHaproxy}`);
  }
  throw error;
}
