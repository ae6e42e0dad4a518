import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BodyFacts, bodyStateOf } from "../../../agent/intake/body-state.ts";

/** A row of the decision table: what a message must be like, and its body's state. */
interface Row {
  readonly state: "complete" | "truncated" | "omitted";
  readonly applies: (message: BodyFacts) => boolean;
}

const sent = ({ argument }: BodyFacts) => ["null", "bytes"].includes(argument);
const lengths = ({ measuredBytes, contentLength, transferEncoding }: BodyFacts) =>
  [measuredBytes, ...(transferEncoding ? [] : [contentLength])].filter((bytes) => bytes > 0);
const saysEmpty = ({ contentLength, transferEncoding, http1 }: BodyFacts) =>
  !transferEncoding && (contentLength === 0 || (contentLength === -1 && http1));

// The rows in any order: each one excludes the others by itself.
const omitted: readonly Row[] = [
  { state: "omitted", applies: (message) => !sent(message) },
  {
    state: "omitted",
    applies: (message) =>
      message.argument === "null" && message.whole !== false && lengths(message).length === 0 && !saysEmpty(message),
  },
];
const truncated: readonly Row[] = [
  { state: "truncated", applies: (message) => sent(message) && message.whole === false },
  {
    state: "truncated",
    applies: (message) => sent(message) && lengths(message).some((bytes) => bytes > message.bodyBytes),
  },
  {
    state: "truncated",
    applies: (message) =>
      message.argument === "bytes" &&
      message.whole === undefined &&
      (message.fillsBuffer || (message.measuredBytes === 0 && message.bodyBytes > 0)) &&
      !(message.bodyBytes === 0 && saysEmpty(message)) &&
      (message.transferEncoding || message.contentLength !== message.bodyBytes),
  },
];

function expectedState(message: BodyFacts): string {
  const [reason] = [...omitted, ...truncated].filter(({ applies }) => applies(message));
  return reason?.state ?? "complete";
}

const bytes = fc.oneof(fc.constantFrom(-1, 0, 1, 2), fc.integer({ min: -1, max: 20_000 }));
const anyMessage: fc.Arbitrary<BodyFacts> = fc
  .record({
    argument: fc.constantFrom("missing" as const, "null" as const, "bytes" as const),
    whole: fc.constantFrom(undefined, false, true),
    bodyBytes: bytes.map((count) => Math.max(0, count)),
    measuredBytes: bytes,
    contentLength: bytes,
    transferEncoding: fc.boolean(),
    http1: fc.boolean(),
    fillsBuffer: fc.boolean(),
  })
  .map((message) => (message.argument === "bytes" ? message : { ...message, bodyBytes: 0 }));

describe("the state of a body", () => {
  it("follows the table, for any message", () => {
    const states = new Set<string>();
    fc.assert(
      fc.property(anyMessage, (message) => {
        const state = bodyStateOf(message);
        states.add(`${message.argument} ${state}`);
        expect(state).toBe(expectedState(message));
      }),
      { numRuns: 20_000 },
    );
    expect([...states].sort()).toEqual([
      ...["bytes complete", "bytes truncated", "missing omitted"],
      ...["null complete", "null omitted", "null truncated"],
    ]);
  });

  it("is never complete if HAProxy says that it has not received the whole body", () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        expect(bodyStateOf({ ...message, whole: false })).not.toBe("complete");
      }),
    );
  });

  it("is never more complete with a longer length, or without `whole`", () => {
    const rank = { omitted: 0, truncated: 0, complete: 1 };
    fc.assert(
      fc.property(anyMessage, fc.nat(1_000), (message, more) => {
        const whole = rank[bodyStateOf({ ...message, whole: true })];
        expect(rank[bodyStateOf({ ...message, whole: undefined })]).toBeLessThanOrEqual(whole);
        const longer = { ...message, whole: true, measuredBytes: Math.max(0, message.measuredBytes) + more };
        expect(rank[bodyStateOf(longer)]).toBeLessThanOrEqual(whole);
      }),
    );
  });
});
