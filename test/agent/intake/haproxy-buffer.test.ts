import { describe, expect, it } from "vitest";
import { fillsBuffer } from "../../../agent/intake/haproxy-buffer.ts";

// Uploads without a length, cut by HAProxy 2.6, 3.0 and 3.2, which all cut at the same byte. Path and host as the client sent
// them; headers and their bytes as in req.hdrs_bin.
const cutUploads: readonly (readonly [
  name: string,
  peerFrameBytes: number,
  parts: { method: number; path: number; host: number; headers: number; headerBytes: number; body: number },
])[] = [
  ["HTTP/2", 16_380, { method: 3, path: 9, host: 15, headers: 3, headerBytes: 49, body: 15_152 }],
  ["HTTP/2 with 43 headers", 16_380, { method: 3, path: 21, host: 15, headers: 43, headerBytes: 1_391, body: 13_478 }],
  ["chunked", 16_380, { method: 3, path: 9, host: 15, headers: 4, headerBytes: 73, body: 15_134 }],
  [
    "chunked, a query and 44 headers",
    16_380,
    { method: 3, path: 515, host: 15, headers: 44, headerBytes: 1_415, body: 12_966 },
  ],
  ["HTTP/2, 64 KiB", 65_532, { method: 3, path: 10, host: 15, headers: 3, headerBytes: 49, body: 64_295 }],
  ["chunked, 64 KiB", 65_532, { method: 3, path: 10, host: 15, headers: 4, headerBytes: 73, body: 64_285 }],
];

describe("a request", () => {
  it.each(cutUploads)("that HAProxy has cut fills its buffer: %s", (_, peerFrameBytes, parts) => {
    const { method, path, host, headers, headerBytes, body } = parts;
    const bytes = method + path + host + headerBytes;

    expect(fillsBuffer(bytes + body, headers, peerFrameBytes)).toBe(true);
    expect(fillsBuffer(bytes + body - 120, headers, peerFrameBytes)).toBe(false);
    expect(fillsBuffer(bytes, headers, peerFrameBytes)).toBe(false);
  });

  it("of an HAProxy with small frames fills its buffer at once: it is cut rather than called whole", () => {
    expect(fillsBuffer(100, 3, 256)).toBe(true);
  });
});
