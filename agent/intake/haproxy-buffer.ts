// HAProxy announces frames of tune.bufsize less 4 bytes.
const frameLengthBytes = 4;
// tune.maxrewrite: HAProxy leaves this part of a buffer free.
const reserveBytes = 1024;
// Measured on 2.6, 3.0 and 3.2 with buffers of 16 and 64 KiB: cut bodies leave the reserve and up to 8 bytes more. The rest
// is for data in several blocks of 8 bytes.
const toleranceBytes = 64;

// HAProxy's HTX: each header takes a block of 8 bytes. Beside them a buffer has a header of 56 bytes, blocks for start line,
// end of headers and body, and in the start line three lengths, `HTTP/1.1` and `https://HOST`; in HTTP/1 the last of these
// counts too much.
const blockBytes = 8;
const fixedBytes = 56 + 3 * blockBytes + 1 + 12 + 8 + 8;

/**
 * Whether a request fills HAProxy's buffer, so that its body may have been cut. Assumes the default of `tune.maxrewrite`.
 *
 * @param partBytes the sum of method, host, path with query, body, and the names and values of all headers
 * @param headers their number
 * @param peerFrameBytes the `max-frame-size` of HAProxy's HELLO
 */
export function fillsBuffer(partBytes: number, headers: number, peerFrameBytes: number): boolean {
  const freeBytes = peerFrameBytes + frameLengthBytes - fixedBytes - headers * blockBytes - partBytes;
  return freeBytes <= reserveBytes + toleranceBytes;
}
