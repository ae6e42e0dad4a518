import { importRequests } from "../../../relay/exchange/import.ts";
import type { ImportFormat, ImportOptions } from "../../../relay/exchange/imported.ts";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { collect, inChunks } from "./byte-chunks.ts";

export interface ImportRun {
  readonly format: ImportFormat | undefined;
  readonly note: string | undefined;
  readonly requests: readonly CapturedRequest[];
  /** The reason for each request that was left out. */
  readonly leftOut: readonly string[];
  /** Each as `place: reason`. */
  readonly mistakes: readonly string[];
}

/** Imports these bytes, cut into chunks of one size. */
export async function importAll(
  bytes: Uint8Array | string,
  options: Partial<ImportOptions> = {},
  chunkBytes?: number,
): Promise<ImportRun> {
  const items = await collect(importRequests(inChunks(bytes, chunkBytes), { name: "file", ...options }));
  const format = items.find((item) => item.kind === "format");
  return {
    format: format?.format,
    note: format?.note,
    requests: items.flatMap((item) => (item.kind === "request" ? [item.request] : [])),
    leftOut: items.flatMap((item) => (item.kind === "leftOut" ? [item.reason] : [])),
    mistakes: items.flatMap((item) => (item.kind === "mistake" ? [`${item.place}: ${item.reason}`] : [])),
  };
}
