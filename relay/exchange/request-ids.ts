import { createHash } from "node:crypto";
import type { CapturedRequest } from "../pack/captured-request.ts";

type UnnumberedRequest = Omit<CapturedRequest, "index">;

/** The ids that a request can have in a capture. */
export interface RequestIds {
  readonly id: string;
  /** The id that the request gets if its file is imported before or after other files that use its id. */
  readonly otherId?: string;
}

const keyChars = 24;
const suffixChars = 12;
// 2^26 bits: of 4 million ids, 1 in 400 is taken for a repeated one, and only gets a suffix that it does not need.
const filterBits = 2 ** 26;
const hashesPerId = 4;
// A small file needs a few of them: all of them would take 8 MiB, and more time than the file.
const pageBits = 2 ** 15;

/**
 * Assigns an id to each request of the files of an import: that of its file, followed by a suffix if an earlier request
 * has the same id, or one of its own if the file has none. The same file always gets the same ids, whatever its name
 * is, also if more requests were added to its end; only the first request of an id can have its other id instead.
 */
export class RequestIdSource {
  readonly #ofImport = new IdFilter();

  /** Returns the function that assigns the ids of one file, in the order of the file. */
  startFile(): (request: UnnumberedRequest) => RequestIds {
    const ofFile = new IdFilter();
    let key = "";
    return (request) => {
      // Each digest covers all requests up to this one, so equal requests of a file differ, and so do those of two files.
      key = digestOf(key, request);
      const { id } = request;
      if (id === "") return { id: key.slice(0, keyChars) };
      const longId = `${id}-${key.slice(0, suffixChars)}`;
      if (!ofFile.add(id)) return { id: longId };
      return this.#ofImport.add(id) ? { id, otherId: longId } : { id: longId, otherId: id };
    };
  }
}

/** A Bloom filter: bounded memory for any number of ids. */
class IdFilter {
  readonly #pages: (Uint8Array | undefined)[] = new Array(filterBits / pageBits);

  /** False if the id was added before, and rarely if it was not. */
  add(id: string): boolean {
    // FNV-1a and a second hash: each sum of them is one more (Kirsch and Mitzenmacher 2006).
    let first = 0x811c9dc5;
    let second = 0;
    for (let i = 0; i < id.length; i++) {
      first = Math.imul(first ^ id.charCodeAt(i), 0x01000193);
      second = Math.imul(second ^ first, 0x5bd1e995) + 1;
    }
    let isNew = false;
    for (let i = 0; i < hashesPerId; i++) {
      const bit = (first + Math.imul(i, second)) & (filterBits - 1);
      const number = Math.floor(bit / pageBits);
      const page = this.#pages[number] ?? new Uint8Array(pageBits / 8);
      this.#pages[number] = page;
      const at = (bit % pageBits) >> 3;
      const mask = 1 << (bit & 7);
      isNew ||= (page[at] & mask) === 0;
      page[at] |= mask;
    }
    return isNew;
  }
}

function digestOf(before: string, request: UnnumberedRequest): string {
  const { body, primary: _answer, ...parts } = request;
  const text = before + JSON.stringify(parts);
  return createHash("sha256").update(text).update(body).digest("hex");
}
