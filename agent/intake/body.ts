import { Throttle } from "../../relay/log/log.ts";
import type { BodyState } from "../../relay/pack/captured-request.ts";
import type { Span } from "../../relay/pack/span.ts";
import type { RequestDraft } from "../../relay/pack/writer.ts";
import { dataType, type TypedValue } from "../spop/typed-data.ts";
import { type BodyFacts, bodyStateOf } from "./body-state.ts";
import { fillsBuffer } from "./haproxy-buffer.ts";
import type { HeaderScan } from "./header-scan.ts";
import type { WholeFlaw } from "./whole-flaw.ts";

const digitOne = 0x31;

/** Collects what a message says about the body, and finds its state. One instance is reused for every request. */
export class RequestBody {
  readonly #facts: BodyFacts = {
    argument: "missing",
    whole: undefined,
    bodyBytes: 0,
    measuredBytes: -1,
    contentLength: -1,
    transferEncoding: false,
    http1: false,
    fillsBuffer: false,
  };
  readonly #onUnknownWhole: (flaw: WholeFlaw, onResponse: boolean) => void;
  readonly #nowMs: () => number;
  readonly #reports: Readonly<Record<WholeFlaw, Throttle>> = {
    missing: new Throttle(),
    "not a boolean": new Throttle(),
  };
  #flaw: WholeFlaw = "missing";

  /** @param onUnknownWhole called for messages with a body that have a flaw, at most once a minute for each flaw */
  constructor(onUnknownWhole: (flaw: WholeFlaw, onResponse: boolean) => void, nowMs: () => number) {
    this.#onUnknownWhole = onUnknownWhole;
    this.#nowMs = nowMs;
  }

  clear(): void {
    this.#facts.argument = "missing";
    this.#facts.whole = undefined;
    this.#facts.measuredBytes = -1;
    this.#flaw = "missing";
  }

  /** Takes note of the argument `body`, which may be NULL. */
  noteBody(value: TypedValue): void {
    this.#facts.argument = value.type === dataType.null ? "null" : "bytes";
  }

  /** Takes note of `body_len` or `body_size`. */
  noteSize(bytes: number): void {
    this.#facts.measuredBytes = Math.max(this.#facts.measuredBytes, bytes);
  }

  /** Takes note of the argument `whole`. */
  noteWhole(value: TypedValue): void {
    if (value.type === dataType.bool) this.#facts.whole = value.number === 1;
    else this.#flaw = "not a boolean";
  }

  /** The state of the body of a request whose other parts are known. */
  stateOf(
    { method, path, version, body, hasPrimary }: RequestDraft,
    scan: HeaderScan,
    peerFrameBytes: number,
  ): BodyState {
    const facts = this.#facts;
    facts.bodyBytes = lengthOf(body);
    facts.contentLength = scan.contentLength;
    facts.transferEncoding = scan.transferEncoding;
    facts.http1 = scan.count > 0 && lengthOf(version) > 0 && version.bytes[version.start] === digitOne;
    facts.fillsBuffer = false;
    if (facts.whole === undefined && facts.argument !== "missing") {
      const partBytes = lengthOf(method) + scan.hostBytes + lengthOf(path) + scan.bytes + facts.bodyBytes;
      facts.fillsBuffer = fillsBuffer(partBytes, scan.count, peerFrameBytes);
      this.#report(hasPrimary);
    }
    return bodyStateOf(facts);
  }

  #report(onResponse: boolean): void {
    const flaw = this.#flaw;
    this.#reports[flaw].run(this.#nowMs(), () => this.#onUnknownWhole(flaw, onResponse));
  }
}

function lengthOf({ start, end }: Span): number {
  return end - start;
}
