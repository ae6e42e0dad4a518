import { randomBytes } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import type { Received } from "../../relay/demo/json-server.ts";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { withHttp2 } from "../support/processes/haproxy-lines.ts";
import { haproxyModes } from "../support/processes/haproxy-modes.ts";
import { Rig } from "../support/processes/rig.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { bytesOf, sendUpload, type Upload } from "../support/servers/upload.ts";

// `internal.htx.has_eom` is a fetch for HAProxy's developers. These tests are why the examples may rely on it: it tells whole
// uploads from cut and broken-off ones, where lengths do not.

const text = Buffer.from('{"name":"Grüße"}');
const half = randomBytes(7_000);
/** Cut or not, depending on the headers: a body of these sizes and the headers about fill a buffer of 16 KiB. */
const edges = Array.from({ length: 24 }, (_, i) => 15_100 + 7 * i);

const whole: readonly Upload[] = [
  { over: "HTTP/1.1", path: "/api/v1/get" },
  { over: "HTTP/2", path: "/api/v1/get" },
  ...(["HTTP/1.1", "HTTP/2"] as const).flatMap((over): Upload[] => [
    post(over, "/empty", []),
    post(over, "/one-byte", [Buffer.from("x")]),
    post(over, "/small", [text]),
    post(over, "/paused", [120, half, 120, half, 120]),
    post(
      over,
      "/many-chunks",
      Array.from({ length: 200 }, () => randomBytes(60)),
    ),
    post(over, "/14-kB", [randomBytes(14_000)]),
    { ...post(over, "/sized", [text]), headers: { "content-length": String(text.length) } },
    { ...post(over, "/sized-paused", [120, half, 120, half]), headers: { "content-length": "14000" } },
  ]),
];

const cut: readonly Upload[] = (["HTTP/1.1", "HTTP/2"] as const).flatMap((over): Upload[] => [
  ...[15_360, 16_384, 20_000, 100_000].map((bytes) => post(over, `/cut-${bytes}`, [randomBytes(bytes)])),
  { ...post(over, "/cut-sized", [randomBytes(20_000)]), headers: { "content-length": "20000" } },
]);

const broken: readonly Upload[] = (["FIN", "RST", "RST_STREAM"] as const).flatMap((ending) =>
  (["HTTP/1.1", "HTTP/2"] as const)
    .filter((over) => over === "HTTP/2" || ending !== "RST_STREAM")
    .flatMap((over): Upload[] => [
      { ...post(over, `/broken-${ending}`, [text, 200]), ending },
      { ...post(over, `/broken-${ending}-early`, [200]), ending },
      { ...post(over, `/broken-${ending}-sized`, [text, 200]), headers: { "content-length": "50" }, ending },
      { ...post(over, `/broken-${ending}-14-kB`, [half, 100, half, 200]), ending },
    ]),
);

const atTheEdge: readonly Upload[] = (["HTTP/1.1", "HTTP/2"] as const).flatMap((over) =>
  edges.flatMap((bytes): Upload[] => [
    post(over, `/edge-${bytes}`, [randomBytes(bytes)]),
    post(over, `/edge-${bytes}-more`, [randomBytes(bytes), 150, randomBytes(5_000)]),
    { ...post(over, `/edge-${bytes}-broken`, [randomBytes(bytes), 150]), ending: "FIN" },
  ]),
);

let rig: Rig;

afterEach(async () => {
  await rig?.stop();
});

describe.each(haproxyModes)("with mode $mode", ({ configure = (text) => text }) => {
  it.each(["haproxy.cfg", "haproxy-response.cfg"])(
    "%s tells whole uploads from cut and broken-off ones",
    async (example) => {
      const [http2] = await freePorts(1);
      rig = await Rig.start({
        example,
        targets: { whole: "rate: unlimited", all: "rate: unlimited, truncated: send" },
        configure: (text) => configure(withHttp2(text, http2)),
      });
      const { whole: toWhole, all } = rig.shadows;
      const http1 = Number(new URL(rig.frontend).port);
      const uploads = [...whole, ...cut, ...broken, ...atTheEdge];
      const answers = await Promise.all(
        uploads.map((upload) => sendUpload(upload, upload.over === "HTTP/2" ? http2 : http1)),
      );
      expect(addsUp(await rig.settledLedger())).toBe(true);

      const refused = uploads.filter(({ ending }, i) => ending === undefined && answers[i].seen !== "200");
      expect(pathsOf(refused)).toEqual([]);
      const sent = new Map(uploads.map((upload) => [upload.path, bytesOf(upload)]));
      const isWhole = ({ path, body }: Received) => sent.get(path)?.equals(body) === true;
      const isMarked = ({ headers }: Received) => headers["x-mirror-truncated"] === "true";

      // Nothing that is cut or broken off is called whole, and nothing that is whole and fits is called cut.
      expect(pathsOf(toWhole.received.filter((request) => !isWhole(request)))).toEqual([]);
      const arrived = new Set(toWhole.received.map(({ path }) => path));
      expect(pathsOf(whole.filter(({ path }) => !arrived.has(path)))).toEqual([]);
      expect(pathsOf([...cut, ...broken].filter(({ path }) => arrived.has(path)))).toEqual([]);
      // A cut body arrives where the target asks for it, marked, and is a beginning of what was sent.
      const marked = all.received.filter(isMarked);
      expect(pathsOf(cut.filter(({ path }) => !marked.some((request) => request.path === path)))).toEqual([]);
      const isBeginning = ({ path, body }: Received) => sent.get(path)?.subarray(0, body.length).equals(body);
      expect(pathsOf(marked.filter((request) => !isBeginning(request)))).toEqual([]);
      expect(pathsOf(all.received.filter((request) => !isMarked(request) && !isWhole(request)))).toEqual([]);
    },
  );
});

function post(over: Upload["over"], name: string, parts: readonly (Buffer | number)[]): Upload {
  return { over, method: "POST", path: `/api/v1/${over.replace("/", "-")}${name}`, parts };
}

function pathsOf(requests: readonly { readonly path: string }[]): string[] {
  return requests.map(({ path }) => path);
}
