import { Session, type SessionEnd } from "../../../agent/spop/session.ts";
import { type AgentFrame, hello, readAgentFrames } from "./spop-frames.ts";

export interface SessionRun {
  /** The bytes that the session wrote, one buffer for each chunk; empty ones are left out. */
  readonly replies: readonly Buffer[];
  readonly frames: readonly AgentFrame[];
  /** The payload of each NOTIFY, in hex. */
  readonly payloads: readonly string[];
  readonly end: SessionEnd | undefined;
  readonly oversize: number;
}

/** Feeds chunks to a session as the listener does, and overwrites each chunk after its tick. */
export function runChunks(session: Session, chunks: readonly Uint8Array[]): SessionRun {
  const replies: Buffer[] = [];
  const payloads: string[] = [];
  for (const bytes of chunks) {
    const chunk = Buffer.from(bytes);
    const reply = session.receive(chunk);
    if (reply.length > 0) replies.push(reply);
    session.takeNotifies((all, start, end) => payloads.push(Buffer.from(all.subarray(start, end)).toString("hex")));
    chunk.fill(0xee);
  }
  const frames = readAgentFrames(Buffer.concat(replies));
  return { replies, frames, payloads, end: session.end, oversize: session.oversizeNotifies };
}

/** A session that has exchanged its HELLOs. */
export function openSession(maxFrameBytes = 1024 * 1024): Session {
  const session = new Session(maxFrameBytes);
  session.receive(hello());
  return session;
}

/** Splits the stream at these offsets. */
export function cutAt(stream: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const offsets = [0, ...cuts.map((cut) => Math.min(cut, stream.length)).sort((a, b) => a - b), stream.length];
  return offsets.slice(1).map((offset, i) => stream.subarray(offsets[i], offset));
}
