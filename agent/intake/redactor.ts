import type { RedactConfig } from "../../relay/config/config.ts";
import { type Logger, Throttle } from "../../relay/log/log.ts";
import { decodeHeaderBlock, encodeHeaderBlock } from "../../relay/pack/header-block.ts";
import { type Span, spanText } from "../../relay/pack/span.ts";
import type { RequestDraft } from "../../relay/pack/writer.ts";
import { withBodyBytes, withoutDigests } from "../../relay/redaction/body-headers.ts";
import { type BodyRules, maskBody } from "../../relay/redaction/body-mask.ts";
import { encodingsOf, valuesOf } from "../../relay/redaction/content-kind.ts";
import { createDropTest, type DropTest } from "../../relay/redaction/drop-rules.ts";
import { type HeadRules, maskHeaders, maskPath } from "../../relay/redaction/header-mask.ts";
import { createJsonPaths, type PathPlace } from "../../relay/redaction/json-keys.ts";
import { LimitedMask } from "../../relay/redaction/limited-mask.ts";
import { createNameTest } from "../../relay/redaction/name-patterns.ts";
import { createMask } from "../../relay/redaction/value-mask.ts";
import { type AgentLedger, addTo, type OmitReason } from "../ledger.ts";

/** What tells `omitted` bodies from requests that never had one. */
export interface BodyLengths {
  readonly contentLength: number;
  readonly transferEncoding: boolean;
}

// Heads of HAProxy have 16 KiB and 101 headers, unless its settings were raised. With a key, each value takes about 2 µs.
const headLimits = { values: 256, chars: 64 * 1024 };

/** Undefined if there are no rules. Counts the bodies that it leaves out, and logs those that cannot be read, once a minute. */
export function createRedactor(
  config: RedactConfig,
  ledger: Pick<AgentLedger, "omittedBodies">,
  log: Pick<Logger, "warn">,
): Redactor | undefined {
  const { headers, cookies, query, form, json, dropBodies } = config;
  if ([headers, cookies, query, form, json, dropBodies].every((rules) => rules.length === 0)) return undefined;
  const throttle = new Throttle();
  return new Redactor(config, (reason) => {
    addTo(ledger.omittedBodies, reason);
    if (reason === "rule") return;
    throttle.run(performance.now(), (heldBack) =>
      log.warn(
        { event: "body-omitted", reason, heldBack },
        "a body to which agent.redact applies cannot be read, so it is left out; the request is mirrored without it",
      ),
    );
  });
}

/** Masks the secrets of a request before it is stored, by the rules of `agent.redact`. */
export class Redactor {
  readonly #limit: LimitedMask;
  readonly #head: HeadRules;
  readonly #bodies: BodyRules<PathPlace> | undefined;
  readonly #isDropped: DropTest | undefined;
  readonly #onOmitted: (reason: OmitReason) => void;

  constructor(config: RedactConfig, onOmitted: (reason: OmitReason) => void) {
    const { headers, cookies, query, form, json, dropBodies, key } = config;
    const limit = new LimitedMask(createMask(key?.value));
    this.#limit = limit;
    this.#head = {
      ...(headers.length > 0 && { headers: createNameTest(headers) }),
      ...(cookies.length > 0 && { cookies: createNameTest(cookies) }),
      ...(query.length > 0 && { query: createNameTest(query) }),
      mask: limit.mask,
      limit,
    };
    if (form.length + json.length > 0) {
      this.#bodies = {
        ...(form.length > 0 && { fields: createNameTest(form) }),
        ...(json.length > 0 && { keys: createJsonPaths(json) }),
        limit,
      };
    }
    if (dropBodies.length > 0) this.#isDropped = createDropTest(dropBodies);
    this.#onOmitted = onOmitted;
  }

  /** Points the spans of the draft to masked copies, unless they have nothing to mask. */
  redact(draft: RequestDraft, lengths: BodyLengths): void {
    const received = decodeHeaders(draft.headers);
    let headers = this.#maskHeaders(received);
    if (draft.body.end > draft.body.start) headers = this.#redactBody(draft, lengths, received, headers);
    if (headers !== received) point(draft.headers, encodeHeaderBlock(headers));
    if (this.#head.query) {
      const path = spanText(draft.path);
      this.#limit.begin(headLimits);
      const masked = maskPath(path, this.#head);
      if (masked !== path) point(draft.path, Buffer.from(masked, "latin1"));
    }
    if (!draft.hasPrimaryHeaders) return;
    const answer = decodeHeaders(draft.primaryHeaders);
    const masked = this.#maskHeaders(answer);
    if (masked !== answer) point(draft.primaryHeaders, encodeHeaderBlock(masked));
  }

  #maskHeaders(headers: readonly string[]): readonly string[] {
    this.#limit.begin(headLimits);
    return maskHeaders(headers, this.#head);
  }

  /** Returns the headers that fit the body. */
  #redactBody(
    draft: RequestDraft,
    lengths: BodyLengths,
    received: readonly string[],
    headers: readonly string[],
  ): readonly string[] {
    if (!this.#bodies && !this.#isDropped) return headers;
    const types = valuesOf(received, isContentType);
    if (this.#isDropped?.(spanText(draft.path), types)) return this.#omit(draft, lengths, headers, "rule");
    if (!this.#bodies) return headers;
    const body = spanText(draft.body);
    const facts = { types, encodings: encodingsOf(received) };
    const masked = maskBody(body, draft.bodyState === "complete", facts, this.#bodies);
    if ("unreadable" in masked) return this.#omit(draft, lengths, headers, masked.unreadable);
    if (masked.text === body) return headers;
    point(draft.body, Buffer.from(masked.text, "latin1"));
    return withBodyBytes(headers, masked.text.length);
  }

  #omit(
    draft: RequestDraft,
    { contentLength, transferEncoding }: BodyLengths,
    headers: readonly string[],
    reason: OmitReason,
  ): readonly string[] {
    // An omitted body is one that may not have existed, unless a header announces it. This one is known to have existed.
    draft.bodyState = contentLength > 0 || transferEncoding ? "omitted" : "truncated";
    point(draft.body, Buffer.alloc(0));
    this.#onOmitted(reason);
    return withoutDigests(headers);
  }
}

function decodeHeaders({ bytes, start, end }: Span): readonly string[] {
  return decodeHeaderBlock(bytes.subarray(start, end));
}

function point(span: Span, bytes: Uint8Array): void {
  span.bytes = bytes;
  span.start = 0;
  span.end = bytes.length;
}

function isContentType(name: string): boolean {
  return name.length === 12 && name.toLowerCase() === "content-type";
}
