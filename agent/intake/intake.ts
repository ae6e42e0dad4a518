import { ByteReader } from "../../relay/pack/byte-reader.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { decodeHeaderBlock } from "../../relay/pack/header-block.ts";
import { clearSpan, copySpan, emptySpan, isEmpty, type Span, spanText } from "../../relay/pack/span.ts";
import type { LoopGuard } from "../../relay/rules/loop-mark.ts";
import { isSampled, type Sample } from "../../relay/rules/sample.ts";
import { type Unreplayable, whyUnreplayable } from "../../relay/rules/unreplayable.ts";
import { matches, type When } from "../../relay/rules/when.ts";
import { type AgentLedger, addTo } from "../ledger.ts";
import { type MessageVisitor, visitMessages } from "../spop/notify.ts";
import type { NotifyProgress } from "../spop/notify-queue.ts";
import { dataType, type TypedValue } from "../spop/typed-data.ts";
import { ArgumentNames, type ArgumentRole } from "./arguments.ts";
import { RequestBody } from "./body.ts";
import { createDraft } from "./draft.ts";
import { HeaderScan, maxHeaders } from "./header-scan.ts";
import type { Packer } from "./packer.ts";
import { RequestPath } from "./path.ts";
import type { Redactor } from "./redactor.ts";
import type { WholeFlaw } from "./whole-flaw.ts";

export interface IntakeOptions {
  readonly sample: Sample;
  readonly when?: When;
  /** Undefined if nothing is redacted. */
  readonly redactor: Redactor | undefined;
  /** How replayed requests are recognised; by default by the header X-Mirror-Id, whoever wrote it. */
  readonly loopGuard?: LoopGuard;
  readonly ledger: AgentLedger;
  readonly packer: Packer;
  readonly nowMs: () => number;
  /** From 0 to 1, without 1: decides a sample that is not sticky. */
  readonly random: () => number;
  readonly onUnknownArgument: (name: string) => void;
  readonly onUnusable: (reason: string) => void;
  /** Called for a request with a mark that no replay of ours has made: it is mirrored. */
  readonly onForeignMark?: () => void;
  /** Called for messages that have a body and no usable argument `whole`, at most once a minute for each flaw. */
  readonly onUnknownWhole: (flaw: WholeFlaw, onResponse: boolean) => void;
}

// Salts the agent's sample, so that it selects other keys than a target's sample that is sticky by the same key.
const agentSalt = "agent";
const letterC = 0x43;
const letterO = 0x4f;

/**
 * Turns the messages of a NOTIFY into captured requests and passes the wanted ones to the packer: sample, filter, loop
 * guard, redact, pack. Bodies are copied by the packer only. The bytes of a NOTIFY are not used after the call.
 */
export class Intake implements MessageVisitor {
  readonly #options: IntakeOptions;
  readonly #names: ArgumentNames;
  readonly #headerScan = new HeaderScan();
  readonly #reader = new ByteReader(new Uint8Array());
  readonly #value: TypedValue = { type: 0, start: 0, end: 0, number: 0 };
  readonly #draft = createDraft();
  readonly #path = new RequestPath();
  readonly #headers = emptySpan();
  readonly #responseHeaders = emptySpan();
  readonly #responseScan = new HeaderScan();
  readonly #body: RequestBody;
  #headersAreText = false;
  #responseHeadersAreText = false;
  #peerFrameBytes = 0;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#names = new ArgumentNames(options.onUnknownArgument);
    this.#headerScan = new HeaderScan(options.loopGuard);
    this.#body = new RequestBody(options.onUnknownWhole, options.nowMs);
  }

  /**
   * Captures the list of messages of a NOTIFY, or one at least and more while `progress` has time. Throws `DecodeError` at a
   * malformed message, which counts as unusable; the messages before it are captured.
   *
   * @param peerFrameBytes the `max-frame-size` that HAProxy announced
   */
  take(bytes: Uint8Array, start: number, end: number, peerFrameBytes: number, progress?: NotifyProgress): void {
    const reader = this.#reader.reset(bytes, start, end);
    this.#peerFrameBytes = peerFrameBytes;
    this.#headerScan.left = maxHeaders - (progress?.headers ?? 0);
    this.#responseScan.left = maxHeaders - (progress?.responseHeaders ?? 0);
    try {
      const messages = visitMessages(reader, this.#value, this, progress?.messages, progress?.hasTime);
      if (!progress || reader.done) return;
      progress.nextAt = reader.offset;
      progress.messages = messages;
      progress.headers = maxHeaders - this.#headerScan.left;
      progress.responseHeaders = maxHeaders - this.#responseScan.left;
    } catch (error) {
      if (error instanceof DecodeError) this.#countUnusable("malformed message");
      throw error;
    }
  }

  beginMessage(): void {
    const draft = this.#draft;
    for (const span of [draft.id, draft.method, draft.version, draft.src, draft.body, draft.primaryDigest])
      clearSpan(span);
    clearSpan(this.#headers);
    clearSpan(this.#responseHeaders);
    this.#path.clear();
    draft.srcIsAddress = false;
    draft.hasPrimary = false;
    draft.hasPrimaryHeaders = false;
    draft.primaryStatus = -1;
    draft.primaryTimeMs = -1;
    draft.primaryBytes = -1;
    this.#body.clear();
  }

  argument(position: number, nameStart: number, nameEnd: number, value: TypedValue): void {
    const { bytes } = this.#reader;
    const role = this.#names.roleAt(position, bytes, nameStart, nameEnd);
    if (role === undefined) return;
    if (role === "body") {
      this.#body.noteBody(value);
      point(this.#draft.body, bytes, value);
      return;
    }
    // HAProxy sends NULL for a sample without a value: the argument counts as absent.
    if (value.type !== dataType.null) this.#assign(role, bytes, value);
  }

  endMessage(): void {
    const { ledger } = this.#options;
    const reason = this.#resolve();
    if (reason !== undefined) return this.#countUnusable(reason);
    ledger.seen++;
    if (!this.#isSampled()) {
      ledger.sampledOut++;
    } else if (!this.#matches()) {
      ledger.filtered++;
    } else if (this.#headerScan.looped) {
      ledger.looped++;
    } else {
      if (this.#headerScan.claimsLoop) this.#options.onForeignMark?.();
      const why = this.#whyUnreplayable();
      if (why === "upgrade") ledger.upgrade++;
      else if (why !== undefined) addTo(ledger.unreplayable, why);
      else this.#append();
    }
  }

  #append(): void {
    const { nowMs, redactor, packer } = this.#options;
    this.#draft.capturedAtMs = nowMs();
    redactor?.redact(this.#draft, this.#headerScan);
    packer.append(this.#draft);
  }

  #assign(role: ArgumentRole, bytes: Uint8Array, value: TypedValue): void {
    const draft = this.#draft;
    const isInteger = value.type >= dataType.int32 && value.type <= dataType.uint64;
    // A negative number arrives as 2^64 - n: it is not a status, a time or a size.
    const count = isInteger && value.number <= Number.MAX_SAFE_INTEGER ? value.number : -1;
    switch (role) {
      case "method":
        return point(draft.method, bytes, value);
      case "path":
        return point(this.#path.path, bytes, value);
      case "url":
        return point(this.#path.url, bytes, value);
      case "query":
        return point(this.#path.query, bytes, value);
      case "version":
        return point(draft.version, bytes, value);
      case "id":
        return point(draft.id, bytes, value);
      case "src":
        draft.srcIsAddress = value.type === dataType.ipv4 || value.type === dataType.ipv6;
        return point(draft.src, bytes, value);
      case "headers":
        this.#headersAreText = value.type === dataType.string;
        return point(this.#headers, bytes, value);
      case "bodyBytes":
        return this.#body.noteSize(count);
      case "whole":
        return this.#body.noteWhole(value);
      case "status":
        draft.hasPrimary = true;
        draft.primaryStatus = count;
        return;
      case "timeMs":
        draft.hasPrimary = true;
        draft.primaryTimeMs = count;
        return;
      case "responseBytes":
        draft.hasPrimary = true;
        draft.primaryBytes = count;
        return;
      case "responseDigest":
        draft.hasPrimary = true;
        return point(draft.primaryDigest, bytes, value);
      case "responseHeaders":
        draft.hasPrimary = true;
        this.#responseHeadersAreText = value.type === dataType.string;
        return point(this.#responseHeaders, bytes, value);
    }
  }

  #countUnusable(reason: string): void {
    const { ledger, onUnusable } = this.#options;
    ledger.seen++;
    addTo(ledger.unusable, reason);
    onUnusable(reason);
  }

  /** Completes the draft. Returns a reason if the message is not a usable request. */
  #resolve(): string | undefined {
    const draft = this.#draft;
    if (isEmpty(draft.method)) return "no method";
    if (!this.#path.resolve(draft.path) && !this.#mayLackPath()) return "no path";
    try {
      scan(this.#headerScan, this.#headers, this.#headersAreText);
      if (!isEmpty(this.#responseHeaders)) {
        scan(this.#responseScan, this.#responseHeaders, this.#responseHeadersAreText);
        copySpan(draft.primaryHeaders, this.#responseScan.block);
        draft.hasPrimaryHeaders = true;
      }
    } catch (error) {
      // Too many: the other messages are not read.
      if (error instanceof DecodeError && error.code !== "BAD_COUNT") return "malformed headers";
      throw error;
    }
    copySpan(draft.headers, this.#headerScan.block);
    draft.bodyState = this.#body.stateOf(draft, this.#headerScan, this.#peerFrameBytes);
    return undefined;
  }

  // HAProxy has no path for CONNECT and `OPTIONS *`: it sends NULL.
  #mayLackPath(): boolean {
    const { bytes, start, end } = this.#draft.method;
    // Most methods need no string to be told apart.
    if (end - start !== 7 || (bytes[start] !== letterC && bytes[start] !== letterO)) return false;
    const method = spanText(this.#draft.method);
    return method === "CONNECT" || method === "OPTIONS";
  }

  #whyUnreplayable(): Unreplayable | undefined {
    if (!this.#headerScan.upgrade && !this.#mayLackPath()) return undefined;
    const { method, path } = this.#draft;
    return whyUnreplayable({
      method: spanText(method),
      // RFC 9112 3.2.4: `OPTIONS http://host` is `OPTIONS *`.
      path: this.#path.implied ? "*" : spanText(path),
      headers: this.#headerScan.upgrade ? this.#headerStrings() : [],
    });
  }

  #isSampled(): boolean {
    const { sample, random } = this.#options;
    if (!sample.stickyBy) return sample.fraction >= 1 || random() < sample.fraction;
    const { src, srcIsAddress } = this.#draft;
    // The key is the address as bytes: they identify it like its text, and are the same on every agent.
    const key = spanText(src);
    return isSampled(sample, agentSalt, {
      id: "",
      src: srcIsAddress ? Buffer.from(key, "latin1").toString("hex") : key,
      headers: this.#headerStrings(),
    });
  }

  #matches(): boolean {
    const { when } = this.#options;
    if (!when) return true;
    const { method, path } = this.#draft;
    return matches(when, { method: spanText(method), path: spanText(path), headers: this.#headerStrings() });
  }

  #headerStrings(): string[] {
    const { bytes, start, end } = this.#headerScan.block;
    return decodeHeaderBlock(bytes.subarray(start, end));
  }
}

function point(span: Span, bytes: Uint8Array, value: TypedValue): void {
  span.bytes = bytes;
  span.start = value.start;
  span.end = value.end;
}

function scan(headerScan: HeaderScan, headers: Span, areText: boolean): void {
  if (areText) headerScan.scanText(headers.bytes, headers.start, headers.end);
  else headerScan.scanBinary(headers.bytes, headers.start, headers.end);
}
