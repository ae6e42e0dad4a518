import type { CapturedRequest } from "../pack/captured-request.ts";

/** The formats of others that can be read. `nginx` stands for its `combined` and `main` logs, which Apache writes, too. */
export type ImportFormat = "goreplay" | "har" | "nginx" | "haproxy";

export const importFormats: readonly ImportFormat[] = ["goreplay", "har", "nginx", "haproxy"];

export interface ImportOptions {
  /** What the file is called in the places of mistakes. */
  readonly name: string;
  /** Read as this instead of what its content looks like. */
  readonly format?: ImportFormat;
  /** IANA name of the zone of times that carry none: HAProxy writes the local time of its machine. UTC if not given. */
  readonly timeZone?: string;
  /** A record that is longer is skipped and counted, so that memory stays bounded. 64 MiB if not given, 256 MiB at most. */
  readonly maxRecordBytes?: number;
}

/** What comes out of a file. The first is the format, unless the content looks like none. */
export type Imported =
  | {
      readonly kind: "format";
      readonly format: ImportFormat;
      /** What requests of this format lack, in words. */
      readonly note?: string;
    }
  | { readonly kind: "request"; readonly request: CapturedRequest }
  | ImportMistake;

interface ImportMistake {
  readonly kind: "mistake";
  /** `access.log:17`, `day.gor: record 3 at byte 1024`; bytes and lines are counted in the unzipped content. */
  readonly place: string;
  /** Holds nothing of the content: it may be shown and logged. */
  readonly reason: string;
}

/** A request that has no place in an order yet. The id is empty where the format has none: a pack gives it its own. */
export type ReadRequest = Omit<CapturedRequest, "index">;

/** What a parser makes of one record: a request, or in words what is wrong with it. */
export type Parsed = ReadRequest | string;

/** What a reader finds in a file, in its order. */
export type ReadItem = { readonly kind: "request"; readonly request: ReadRequest } | ImportMistake;

/** The last moment that a capture time may have: the end of what a Date can hold. */
export const maxCapturedAtMs = 8.64e15;

/** The request target as an origin server sees it: what was sent to a proxy, and to HTTP/2, names the host, too. */
export function toOriginForm(target: string): string {
  const authority = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i.exec(target);
  if (!authority) return target;
  const path = target.slice(authority[0].length);
  return path.startsWith("/") ? path : `/${path}`;
}
