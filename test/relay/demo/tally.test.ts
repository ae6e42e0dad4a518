import { describe, expect, it } from "vitest";
import { parseAccessLog } from "../../../relay/demo/access-log.ts";
import type { Received } from "../../../relay/demo/json-server.ts";
import { formatArrivals, formatLeftOut, isMirrored, type Tally, toTally } from "../../../relay/demo/tally.ts";

const acknowledged = "127.0.0.1 200 4 GET /a mirror_err=- mirror_ms=3\n";
const lateButSent = "127.0.0.1 200 78 GET /b mirror_err=1 mirror_ms=62\n";
const timedOut = "127.0.0.1 200 79 GET /c mirror_err=1 mirror_ms=62\n";
const withoutAgent = "127.0.0.1 200 1 POST /d mirror_err=257 mirror_ms=0\n";
const notOffered = "127.0.0.1 200 1 GET /e mirror_err=- mirror_ms=-\n";
const failure = "SPOE: [mirror] <EVENT:on-backend-http-request> sid=9 st=1 50 4/5\n";

describe("parseAccessLog", () => {
  it("reads which requests HAProxy was to mirror and which it gave up, and ignores other lines", () => {
    expect(parseAccessLog(acknowledged + failure + timedOut + notOffered)).toEqual([
      { path: "/a", offered: true },
      { path: "/c", offered: true, error: 1 },
      { path: "/e", offered: false },
    ]);
  });
});

describe("toTally", () => {
  it("counts a request that HAProxy gave up only if it did not arrive", () => {
    const tally = tallyOf(acknowledged + lateButSent + timedOut + withoutAgent + notOffered, ["/a?n=1", "/b"]);

    expect(tally).toEqual({
      offered: 4,
      arrived: 2,
      repeated: 0,
      leftOut: new Map([
        [1, 1],
        [257, 1],
      ]),
    });
    expect(isMirrored(tally)).toBe(true);
    expect(formatArrivals(tally, "arrived")).toBe("2 arrived, 2 left out by HAProxy");
    expect(formatLeftOut(tally)).toContain("HAProxy left out 2 of 4 requests");
    expect(formatLeftOut(tally)).toContain("1 × mirror_err=257: no agent was up");
  });
});

describe("formatArrivals", () => {
  it("names requests that the agent acknowledged and that did not arrive", () => {
    const tally = tallyOf(acknowledged + timedOut, []);

    expect(formatArrivals(tally, "arrived")).toBe("0 arrived, 1 left out by HAProxy, 1 acknowledged and lost");
  });

  it("does not count a request that arrived twice in place of a lost one", () => {
    const tally = tallyOf(acknowledged + acknowledged.replace("/a", "/f"), ["/a", "/a"]);

    expect(formatArrivals(tally, "arrived")).toBe("1 arrived, 1 of them sent again, 1 acknowledged and lost");
    expect(isMirrored(tally)).toBe(false);
  });
});

describe("a request that arrives twice", () => {
  it("is counted once and named", () => {
    const tally = tallyOf(acknowledged + acknowledged.replace("/a", "/b"), ["/a", "/a", "/b"]);

    expect(tally).toMatchObject({ offered: 2, arrived: 2, repeated: 1 });
    expect(formatArrivals(tally, "arrived")).toBe("2 arrived, 1 of them sent again");
  });
});

describe("isMirrored", () => {
  it.each([
    { name: "an acknowledged request is missing", log: acknowledged, arrived: [] },
    { name: "a request arrived twice", log: acknowledged, arrived: ["/a", "/a"] },
    { name: "HAProxy left most of them out", log: acknowledged + timedOut + withoutAgent, arrived: ["/a"] },
  ])("is false if $name", ({ log, arrived }) => {
    expect(isMirrored(tallyOf(log, arrived))).toBe(false);
  });
});

function tallyOf(log: string, arrivedPaths: readonly string[]): Tally {
  const received = arrivedPaths.map((path): Received => {
    return { atMs: 0, method: "GET", path, headers: {}, rawHeaders: [], body: Buffer.alloc(0) };
  });
  return toTally(parseAccessLog(log), received);
}
