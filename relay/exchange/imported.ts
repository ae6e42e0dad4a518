import type { CapturedRequest } from "../pack/captured-request.ts";

/**
 * The formats of other tools that can be imported. `nginx` means its `combined` and `main` logs, which Apache also
 * writes.
 */
export type ImportFormat = "goreplay" | "har" | "nginx" | "haproxy";

export const importFormats: readonly ImportFormat[] = ["goreplay", "har", "nginx", "haproxy"];

export interface ImportOptions {
  /** Name of the file in the places of mistakes. */
  readonly name: string;
  /** Format to assume instead of detecting it. */
  readonly format?: ImportFormat;
  /** IANA time zone for times without one: HAProxy logs the local time of its machine. UTC if not given. */
  readonly timeZone?: string;
  /** A longer record is skipped and reported, so memory stays bounded. 64 MiB if not given, 256 MiB at most. */
  readonly maxRecordBytes?: number;
}

/** An item of an import. The first one is the format, unless it is unknown. */
export type Imported =
  | {
      readonly kind: "format";
      readonly format: ImportFormat;
      /** A sentence that says what requests of this format lack. */
      readonly note?: string;
    }
  | { readonly kind: "request"; readonly request: CapturedRequest }
  | ImportMistake;

interface ImportMistake {
  readonly kind: "mistake";
  /**
   * Such as `access.log:17` or `day.gor: record 3 at byte 1024`. Bytes and lines are counted in the unzipped content.
   */
  readonly place: string;
  /** Contains no part of the file: it is safe to show and log. */
  readonly reason: string;
}

/** A request without its index. The id is empty if the format has none: the pack then assigns one. */
export type ReadRequest = Omit<CapturedRequest, "index">;

/** The result of parsing one record: a request, or the reason why it is not one. */
export type Parsed = ReadRequest | string;

/** An item that a reader yields, in the order of the file. */
export type ReadItem = { readonly kind: "request"; readonly request: ReadRequest } | ImportMistake;

/** Latest capture time, in ms since 1970: the last that a Date can hold. */
export const maxCapturedAtMs = 8.64e15;

/** Removes scheme and host from a request target: requests to a proxy, and HTTP/2 requests, include them. */
export function toOriginForm(target: string): string {
  const authority = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i.exec(target);
  if (!authority) return target;
  const path = target.slice(authority[0].length);
  return path.startsWith("/") ? path : `/${path}`;
}
