import type { CapturedRequest } from "../pack/captured-request.ts";
import { writeCurl } from "./curl-writer.ts";
import type { ExportFormat, ExportOptions } from "./exported.ts";
import { writeGoreplay } from "./goreplay/goreplay-writer.ts";
import { writeHar } from "./har/har-writer.ts";
import { writeK6 } from "./k6-writer.ts";

type Writer = (requests: AsyncIterable<CapturedRequest>, options?: ExportOptions) => AsyncGenerator<Buffer>;

const writers: Readonly<Record<ExportFormat, Writer>> = {
  goreplay: writeGoreplay,
  har: writeHar,
  k6: writeK6,
  curl: writeCurl,
};

/** Writes requests in another tool's format, piece by piece. Throws the errors of `requests`. */
export function exportRequests(
  format: ExportFormat,
  requests: AsyncIterable<CapturedRequest>,
  options: ExportOptions = {},
): AsyncGenerator<Buffer> {
  return writers[format](requests, options);
}
