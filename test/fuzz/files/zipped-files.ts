import { gzipSync } from "node:zlib";
import { haproxyLogs, nginxLogs } from "./access-logs.ts";
import type { FileKind } from "./file-kind.ts";
import { goreplayFiles } from "./goreplay-files.ts";
import { harFiles } from "./har-files.ts";
import { checkRoundTrips, importFile } from "./import-checks.ts";

const unzipped = [harFiles, goreplayFiles, nginxLogs, haproxyLogs].flatMap(({ seeds }) => seeds);

// As tapes and disks fill their blocks.
const zeros = Buffer.alloc(100);

/** Files to import, in gzip, also of several members. */
export const zippedFiles: FileKind = {
  name: "gzip file",
  seeds: unzipped.map(({ bytes, ...expected }) => ({
    bytes: Buffer.concat([gzipSync(bytes.subarray(0, 200)), zeros, gzipSync(bytes.subarray(200)), zeros]),
    ...expected,
  })),
  share: 25,
  marks: ["\x1f\x8b\x08\0", "\0\0\0\0", "\x03", "\x1f\x8b", '{"log":'],
  read: async (bytes) => {
    const { requests, leftOut, mistakes } = await importFile(bytes);
    await checkRoundTrips(bytes, requests);
    return { accepted: requests.length, refused: leftOut + mistakes.length };
  },
};
