import { Packer } from "../../agent/intake/packer.ts";
import { createLedger } from "../../agent/ledger.ts";
import { Session } from "../../agent/spop/session.ts";
import { sealPack } from "../../relay/pack/envelope.ts";
import { takeEverything } from "../support/spop/plain-intake.ts";
import { hello } from "../support/spop/spop-frames.ts";
import type { Row } from "./table.ts";
import { typicalNotify } from "./typical-notify.ts";

// The size of a chunk from a socket under load.
const chunkBytes = 64 * 1024;
const roundMs = 1_500;

/** Measures the agent's work without sockets: frames per second of the session alone, and of everything up to compressed packs. */
export function benchSession(): Row[] {
  const frames = Array.from({ length: 256 }, (_, i) => typicalNotify(i));
  const chunk = Buffer.concat(frames.slice(0, Math.floor(chunkBytes / frames[0].length)));
  const framesInChunk = Math.floor(chunkBytes / frames[0].length);
  const session = greetedSession();
  const alone = perSecond(framesInChunk, () => {
    session.receive(chunk);
    session.takeNotifies(() => {});
  });
  const packed = perSecond(framesInChunk, pipeline(chunk));
  const bytes = Math.round(chunk.length / framesInChunk);
  return [
    { what: `session: split and acknowledge, NOTIFY of ${bytes} B`, value: `${format(alone)} frames/s` },
    { what: "… with intake, packing and zstd, one thread", value: `${format(packed)} frames/s` },
  ];
}

function pipeline(chunk: Buffer): () => void {
  const session = greetedSession();
  const ledger = createLedger();
  const packer: Packer = new Packer({
    agent: "bench",
    targetBytes: 60 * 1024,
    maxRequests: 1_000,
    lingerMs: 250,
    ledger,
    createId: () => Buffer.alloc(16),
    hasRoom: () => true,
    ship: ({ content }) => {
      packer.learnRatio(content.length, sealPack(content).length);
      packer.recycle(content.buffer);
    },
  });
  const intake = takeEverything(ledger, packer);
  return () => {
    session.receive(chunk);
    session.takeNotifies((bytes, start, end, peerFrameBytes) => intake.take(bytes, start, end, peerFrameBytes));
  };
}

function greetedSession(): Session {
  const session = new Session(16 * 1024 * 1024);
  session.receive(hello());
  return session;
}

function perSecond(unitsPerRun: number, run: () => void): number {
  for (let i = 0; i < 200; i++) run();
  const startMs = performance.now();
  let runs = 0;
  while (performance.now() - startMs < roundMs) {
    for (let i = 0; i < 20; i++) run();
    runs += 20;
  }
  return (runs * unitsPerRun * 1_000) / (performance.now() - startMs);
}

function format(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}
