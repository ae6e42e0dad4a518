import { type CapturedRequest, headerOf } from "../pack/captured-request.ts";
import { findHeaderFlaw } from "../pack/header-block.ts";
import type { RequestIdSource } from "./request-ids.ts";

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
  /** Give it to all files of an import: their ids can repeat from file to file. */
  readonly ids?: RequestIdSource;
}

/** An item of an import. The first one is the format, unless it is unknown. */
export type Imported =
  | {
      readonly kind: "format";
      readonly format: ImportFormat;
      /** A sentence that says what requests of this format lack. */
      readonly note?: string;
    }
  | {
      readonly kind: "request";
      readonly request: CapturedRequest;
      /** See `RequestIds`. */
      readonly otherId?: string;
    }
  | LeftOutRequest
  | ImportMistake;

/** A request that was not sent to a server, or that cannot be sent again. */
interface LeftOutRequest {
  readonly kind: "leftOut";
  /** Contains no part of the file. */
  readonly reason: string;
  /** Empty if the file does not name it. */
  readonly host: string;
}

/** A part of the file that is damaged. */
interface ImportMistake {
  readonly kind: "mistake";
  /**
   * Such as `access.log:17` or `day.gor: record 3 at byte 1024`. Bytes and lines are counted in the unzipped content.
   */
  readonly place: string;
  /** Contains no part of the file: it is safe to show and log. */
  readonly reason: string;
}

/** A request without its index. The id is empty if the format has none. */
export type ReadRequest = Omit<CapturedRequest, "index">;

/** The result of parsing one record: a request, one to leave out, or the reason why the record is damaged. */
export type Parsed = ReadRequest | Omit<LeftOutRequest, "kind"> | string;

/** An item that a reader yields, in the order of the file. */
export type ReadItem = { readonly kind: "request"; readonly request: ReadRequest } | LeftOutRequest | ImportMistake;

/** Tells the results of parsing apart; `place` is used if the record is damaged. */
export function toReadItem(parsed: Parsed, place: () => string): ReadItem {
  if (typeof parsed === "string") return { kind: "mistake", place: place(), reason: parsed };
  if ("reason" in parsed) return { kind: "leftOut", ...parsed };
  // No capture can hold it: it would end the import, and nothing would say which record it was.
  const flaw = findHeaderFlaw(parsed.headers) ?? findHeaderFlaw(parsed.primary?.headers ?? []);
  return flaw === undefined ? { kind: "request", request: parsed } : { kind: "mistake", place: place(), reason: flaw };
}

/** About how much memory a request takes: its headers can be longer than its body. */
export function memoryBytes({ path, headers, body }: Pick<ReadRequest, "path" | "headers" | "body">): number {
  return headers.reduce((bytes, part) => bytes + part.length, path.length + body.length);
}

/** The Host header; empty if there is none. */
export function hostOf({ headers }: Pick<CapturedRequest, "headers">): string {
  return headerOf(headers, "host") ?? "";
}

/** Latest capture time, in ms since 1970: the last that a Date can hold. */
export const maxCapturedAtMs = 8.64e15;

/** Removes scheme and host from a request target: requests to a proxy, and HTTP/2 requests, include them. */
export function toOriginForm(target: string): string {
  const authority = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i.exec(target);
  if (!authority) return target;
  const path = target.slice(authority[0].length);
  return path.startsWith("/") ? path : `/${path}`;
}
