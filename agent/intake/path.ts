import { clearSpan, copySpan, emptySpan, isEmpty, type Span } from "../../relay/pack/span.ts";

const slash = 0x2f;
const colon = 0x3a;
const questionMark = 0x3f;
// A larger buffer, for one large message, is not kept for the next.
const keptScratchBytes = 1024 * 1024;
const root: Span = { bytes: Buffer.from("/"), start: 0, end: 1 };

/** Builds path and query from the different arguments: a path with or without its query, or an absolute URL. */
export class RequestPath {
  /** A path that may lack its query. */
  readonly path: Span = emptySpan();
  /** Path and query, or an absolute URL; preferred to `path`. */
  readonly url: Span = emptySpan();
  readonly query: Span = emptySpan();
  /** True if the resolved path was not sent: the URL ends with its authority, as in `http://host`. */
  implied = false;
  #scratch = Buffer.alloc(1024);

  clear(): void {
    clearSpan(this.path);
    clearSpan(this.url);
    clearSpan(this.query);
    this.implied = false;
  }

  /** Points `target` to path and query, valid until the next call. Empties it and returns false if there is no path. */
  resolve(target: Span): boolean {
    copySpan(target, isEmpty(this.url) ? this.path : this.url);
    if (isEmpty(target)) return false;
    // HAProxy 3.4 leaves only `?a=b` of `http://host?a=b`.
    if (target.bytes[target.start] === questionMark) this.#joinRoot(target, target.bytes, target.start + 1, target.end);
    else if (target.bytes[target.start] !== slash) this.#reduceAbsolute(target);
    if (target.bytes[target.start] !== slash) {
      clearSpan(target);
      return false;
    }
    if (!isEmpty(this.query) && !contains(target, questionMark)) {
      this.#join(target, this.query.bytes, this.query.start, this.query.end);
    }
    return true;
  }

  // `url` is absolute under HTTP/2 and in requests to a proxy: http://host/a?b becomes /a?b.
  #reduceAbsolute(target: Span): void {
    const { bytes, start, end } = target;
    let at = start;
    while (at < end && bytes[at] !== colon && bytes[at] !== slash) at++;
    if (at + 2 >= end || bytes[at] !== colon || bytes[at + 1] !== slash || bytes[at + 2] !== slash) return;
    at += 3;
    while (at < end && bytes[at] !== slash && bytes[at] !== questionMark) at++;
    if (at < end && bytes[at] === slash) {
      target.start = at;
      return;
    }
    this.implied = at === end;
    if (this.implied) copySpan(target, root);
    else this.#joinRoot(target, bytes, at + 1, end);
  }

  #joinRoot(target: Span, query: Uint8Array, queryStart: number, queryEnd: number): void {
    copySpan(target, root);
    this.#join(target, query, queryStart, queryEnd);
  }

  #join(target: Span, query: Uint8Array, queryStart: number, queryEnd: number): void {
    const pathBytes = target.end - target.start;
    const bytes = pathBytes + 1 + queryEnd - queryStart;
    const scratch = this.#scratch.length < bytes ? Buffer.alloc(bytes) : this.#scratch;
    scratch.set(target.bytes.subarray(target.start, target.end), 0);
    scratch[pathBytes] = questionMark;
    scratch.set(query.subarray(queryStart, queryEnd), pathBytes + 1);
    if (bytes <= keptScratchBytes) this.#scratch = scratch;
    target.bytes = scratch;
    target.start = 0;
    target.end = bytes;
  }
}

function contains(span: Span, byte: number): boolean {
  for (let i = span.start; i < span.end; i++) if (span.bytes[i] === byte) return true;
  return false;
}
