import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";

const roundMs = 1_000;
// The share of a round's requests in its first tenth.
const burstShare = 0.7;

/**
 * `count` requests over about `spanMs`, the same in each call. Each second has a burst, then a trickle, then nothing in its second
 * half; each third second is empty. The paths are `/0?q=…`, `/1?q=…`, …; every other request has a body of arbitrary bytes.
 */
export function burstyRequests(count: number, spanMs: number, startMs: number): readonly CapturedRequest[] {
  const rounds = Array.from({ length: Math.ceil(spanMs / roundMs) }, (_, round) => round).filter(
    (round) => round % 3 !== 2,
  );
  const perRound = Math.ceil(count / rounds.length);
  return Array.from({ length: count }, (_, i) => {
    const place = (i % perRound) / perRound;
    const withinMs =
      place < burstShare ? (place / burstShare) * 100 : 100 + ((place - burstShare) / (1 - burstShare)) * 400;
    return toRequest(i, startMs + rounds[Math.floor(i / perRound)] * roundMs + Math.floor(withinMs));
  });
}

function toRequest(i: number, capturedAtMs: number): CapturedRequest {
  const body =
    i % 2 === 0 ? new Uint8Array() : Uint8Array.from({ length: i % 300 }, (_, at) => (i * 31 + at * 7) % 256);
  return {
    id: "",
    index: i,
    capturedAtMs,
    method: i % 2 === 0 ? "GET" : "POST",
    path: `/${i}?q=%20%ff&${i % 4 === 0 ? "even" : "odd"}`,
    version: "1.1",
    src: "192.0.2.1",
    headers: [
      "host",
      "shop.example",
      "X-Tag",
      `one ${i}`,
      "x-tag",
      "tw\xf6",
      "X-Empty",
      "",
      "Content-Length",
      `${body.length}`,
    ],
    body,
    bodyState: "complete",
  };
}
