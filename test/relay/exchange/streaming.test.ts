import { Readable } from "node:stream";
import { createGzip } from "node:zlib";
import { describe, expect, it } from "vitest";
import { exportRequests } from "../../../relay/exchange/export.ts";
import { exportFormats } from "../../../relay/exchange/exported.ts";
import { importRequests } from "../../../relay/exchange/import.ts";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { expectedRequest } from "../../support/data/captured-requests.ts";

const entry = JSON.stringify({
  startedDateTime: "2026-01-02T03:04:05Z",
  request: { method: "GET", url: "http://shop.example/", headers: [] },
});
const line = '192.0.2.1 - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 5 "-" "-"\n';
const haproxyLine =
  '10.0.1.2:33317 [02/Jan/2026:03:04:05.655] in b/s 0/0/0/0/0 200 5 - - ---- 1/1/1/1/0 0/0 "GET / HTTP/1.1"\n';

describe("importing a file that never ends", () => {
  it.each([
    ["goreplay", "", "1 a 1000000 0\nGET / HTTP/1.1\r\n\r\n\n🐵🙈🙉\n"],
    ["har", '{"log":{"entries":[', `${entry},`],
    ["nginx", "", line],
    ["haproxy", "", haproxyLine],
  ])(
    "yields the requests of %s while it reads, and closes the file when the consumer stops",
    async (_format, head, part) => {
      const file = new EndlessFile(head, part);

      expect(await firstRequests(file.read(), 5_000)).toBe(5_000);
      expect(file.bytes).toBeLessThan(30_000 * part.length + 1_000_000);
      expect(file.closed).toBe(true);
    },
  );

  it("closes the file when the consumer stops after the format", async () => {
    const file = new EndlessFile("", line);
    for await (const _format of importRequests(file.read(), { name: "endless" })) break;

    expect(file.closed).toBe(true);
  });

  it("closes a gzip file when the consumer stops", async () => {
    const file = new EndlessFile("", line);
    const zipped = Readable.from(file.read()).pipe(createGzip());

    expect(await firstRequests(zipped, 5_000)).toBe(5_000);
    expect(zipped.destroyed).toBe(true);
  });
});

describe("exporting requests that never end", () => {
  it.each(exportFormats)("writes %s while it reads", async (format) => {
    let read = 0;
    async function* requests(): AsyncGenerator<CapturedRequest> {
      for (;;) yield expectedRequest({}, read++);
    }
    let pieces = 0;
    for await (const _piece of exportRequests(format, requests())) if (++pieces === 1_000) break;

    expect(read).toBeLessThanOrEqual(1_000);
  });
});

/** Repeats the same part as long as somebody reads. */
class EndlessFile {
  bytes = 0;
  closed = false;
  readonly #head: Buffer;
  readonly #part: Buffer;

  constructor(head: string, part: string) {
    this.#head = Buffer.from(head);
    this.#part = Buffer.from(part.repeat(100));
  }

  async *read(): AsyncGenerator<Buffer> {
    try {
      yield this.#head;
      for (;;) {
        this.bytes += this.#part.length;
        yield this.#part;
      }
    } finally {
      this.closed = true;
    }
  }
}

async function firstRequests(stream: AsyncIterable<Uint8Array>, wanted: number): Promise<number> {
  let count = 0;
  for await (const item of importRequests(stream, { name: "endless" })) {
    if (item.kind === "request" && ++count === wanted) break;
  }
  return count;
}
