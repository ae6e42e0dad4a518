import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { afterAll, beforeAll, expect, it } from "vitest";
import { HaproxyProcess } from "../../relay/demo/haproxy-process.ts";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { until } from "../support/clocks/until.ts";
import { withHttp2 } from "../support/processes/haproxy-lines.ts";
import { haproxyProgram, Rig } from "../support/processes/rig.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { type Answer, sendUpload, type Upload } from "../support/servers/upload.ts";

// What a client sees with and without the mirror, for requests whose client could notice it: printed as a table.

const five = Buffer.from("12345");
const grpc = { "content-type": "application/grpc", te: "trailers" };
const waitMs = 500;

interface Row {
  readonly name: string;
  readonly upload: Upload;
  readonly seen: string;
  /** Whether HAProxy waits for the rest of the body, which does not come. */
  readonly waits?: boolean;
  /** How the request reaches the mirror; anything if it depends on the version. */
  readonly mirror?: "whole" | "truncated" | "upgrade" | "unreplayable";
}

const both = ["HTTP/1.1", "HTTP/2"] as const;

const rows: readonly Row[] = [
  ...both.flatMap((over): Row[] => {
    const post = { over, method: "POST" } as const;
    return [
      { name: "GET", upload: { over, path: "/get" }, seen: "200", mirror: "whole" },
      { name: "POST", upload: { ...post, path: "/post", parts: [five] }, seen: "200", mirror: "whole" },
      {
        name: "POST with a length",
        upload: { ...post, path: "/sized", headers: { "content-length": "5" }, parts: [five] },
        seen: "200",
        mirror: "whole",
      },
      {
        name: "POST with a pause",
        upload: { ...post, path: "/paused", parts: [five, 150, five] },
        seen: "200",
        mirror: "whole",
      },
      {
        name: "gRPC-Web with a pause",
        upload: {
          ...post,
          path: "/grpc-web",
          headers: { "content-type": "application/grpc-web+proto" },
          parts: [five, 150, five],
        },
        seen: "200",
        mirror: "whole",
      },
      {
        name: "100 kB",
        upload: { ...post, path: "/large", parts: [Buffer.alloc(100_000)] },
        seen: "200",
        mirror: "truncated",
      },
      {
        name: "100 kB, answered early",
        upload: { ...post, path: "/early", parts: [Buffer.alloc(100_000)], ending: "nothing" },
        seen: "200",
        mirror: "truncated",
      },
      {
        name: "gRPC stream that waits for an answer",
        upload: { ...post, path: "/early/grpc", headers: grpc, parts: [five], ending: "nothing" },
        seen: "200",
        mirror: "truncated",
      },
      {
        name: "other stream that waits for an answer",
        upload: { ...post, path: "/early/stream", parts: [five], ending: "nothing" },
        seen: "200",
        waits: true,
        mirror: "truncated",
      },
      {
        name: "Expect: 100-continue",
        upload: { ...post, path: "/asks", headers: { "content-length": "5" }, parts: [five], expectsContinue: true },
        seen: "100 200",
        mirror: "truncated",
      },
      {
        name: "Expect: 100-continue, refused",
        upload: { ...post, path: "/refused", headers: { "content-length": "5" }, parts: [five], expectsContinue: true },
        seen: "417",
        mirror: "truncated",
      },
    ];
  }),
  {
    name: "WebSocket",
    upload: {
      over: "HTTP/1.1",
      path: "/socket",
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
      },
    },
    seen: "101",
    mirror: "upgrade",
  },
  {
    name: "WebSocket",
    upload: {
      over: "HTTP/2",
      method: "CONNECT",
      path: "/socket",
      headers: { ":protocol": "websocket", "sec-websocket-version": "13" },
      parts: [],
      ending: "nothing",
    },
    seen: "200",
    mirror: "upgrade",
  },
  {
    name: "CONNECT",
    upload: { over: "HTTP/1.1", method: "CONNECT", path: "shop.example:443" },
    seen: "200",
    mirror: "unreplayable",
  },
  {
    name: "OPTIONS *",
    upload: { over: "HTTP/1.1", method: "OPTIONS", path: "*" },
    seen: "200",
    mirror: "unreplayable",
  },
];

const brokenOff: readonly Upload[] = both.flatMap((over) =>
  (["FIN", "RST", "RST_STREAM"] as const)
    .filter((ending) => over === "HTTP/2" || ending !== "RST_STREAM")
    .map((ending): Upload => ({ over, method: "POST", path: `/broken/${ending}`, parts: [five, 50], ending })),
);

let primary: Server;
let plain: HaproxyProcess | undefined;
let rig: Rig;
let withMirror: Ports;
let without: Ports;

interface Ports {
  readonly "HTTP/1.1": number;
  readonly "HTTP/2": number;
}

beforeAll(async () => {
  primary = createServer(answer);
  primary.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    if (request.url?.endsWith("/refused")) return response.writeHead(417).end();
    response.writeContinue();
    answer(request, response);
  });
  primary.on("upgrade", ({ headers }: IncomingMessage, socket: Duplex) => {
    socket.on("error", () => {});
    // HAProxy checks it for the WebSockets of HTTP/2, whose keys it makes itself.
    const key = `${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n" +
        `sec-websocket-accept: ${accept}\r\n\r\n`,
    );
  });
  primary.on("connect", (_request, socket: Duplex) => {
    socket.on("error", () => {});
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
  });
  await once(primary.listen(0, "127.0.0.1"), "listening");
  const address = `127.0.0.1:${(primary.address() as AddressInfo).port}`;
  const [http2, plainHttp1, plainHttp2, plainStats] = await freePorts(4);
  rig = await Rig.start({
    targets: { whole: "rate: unlimited", all: "rate: unlimited, truncated: send" },
    haproxy: { RELAY_PRIMARY: address, RELAY_BODY_WAIT: `${waitMs}ms` },
    configure: (text) => withHttp2(text, http2).replace("http-request if v1 or v2 half", "http-request"),
  });
  withMirror = { "HTTP/1.1": Number(new URL(rig.frontend).port), "HTTP/2": http2 };
  without = { "HTTP/1.1": plainHttp1, "HTTP/2": plainHttp2 };
  const configFile = join(rig.directory, "plain.cfg");
  const text = readFileSync(join(rig.directory, "haproxy.cfg"), "utf8").replace(String(http2), String(plainHttp2));
  writeFileSync(configFile, text.replaceAll(/^ +(?:filter spoe|tcp-request|acl streams) .*\n/gm, ""));
  plain = new HaproxyProcess({
    program: haproxyProgram(),
    configFile,
    variables: {
      RELAY_FRONTEND_PORT: String(plainHttp1),
      RELAY_STATS_PORT: String(plainStats),
      RELAY_PRIMARY: address,
      RELAY_LOG_LEVEL: "notice",
    },
    onOutput: () => {},
  });
  await until(async () => (await fetch(`http://127.0.0.1:${plainHttp1}/ready`).catch(() => undefined))?.ok === true);
});

afterAll(async () => {
  await plain?.stop();
  await rig?.stop();
  primary?.close();
  primary?.closeAllConnections();
});

it("a client sees the same with and without the mirror", async () => {
  const table: string[] = [];
  for (const { name, upload, seen, waits } of rows) {
    const [before, after] = await compare(upload, 5);
    table.push(line(`${name}, ${upload.over}`, before, after));
    expect({ name, before: before.seen, after: after.seen }).toEqual({ name, before: seen, after: seen });
    const addedMs = after.ms - before.ms;
    if (waits) expect(addedMs).toBeGreaterThan(waitMs - 50);
    expect(addedMs, name).toBeLessThan(waits ? 2 * waitMs : waitMs / 2);
  }
  for (const upload of brokenOff) {
    const [before, after] = await compare(upload, 1);
    table.push(line(`broken off: ${upload.ending}, ${upload.over}`, before, after));
    expect({ ending: upload.ending, seen: after.seen }).toEqual({ ending: upload.ending, seen: before.seen });
  }
  process.stdout.write(`${line("", { seen: "without", ms: NaN }, { seen: "with", ms: NaN })}\n${table.join("\n")}\n`);

  expect(addsUp(await rig.settledLedger())).toBe(true);
  const whole = rig.shadows.whole.received.map(({ path }) => path);
  const truncated = rig.shadows.all.received
    .filter(({ headers }) => headers["x-mirror-truncated"] === "true")
    .map(({ path }) => path);
  for (const { upload, mirror } of rows) {
    const path = `/${upload.over.replace("/", "-")}${upload.path}`;
    expect({ path, whole: whole.includes(path), truncated: truncated.includes(path) }).toEqual({
      path,
      whole: mirror === "whole",
      truncated: mirror === "truncated",
    });
  }
  const { upgrade, unreplayable } = await rig.agentStats();
  expect({ upgrade, unreplayable }).toEqual({ upgrade: 10, unreplayable: { CONNECT: 5, "OPTIONS *": 5 } });
}, 180_000);

/**
 * Sends the request `times` to both, alternately. Resolves with the fastest answers, without and with the mirror: they show what the
 * mirror adds, not what else the machine does.
 */
async function compare(upload: Upload, times: number): Promise<readonly [Answer, Answer]> {
  const { over } = upload;
  // The target of CONNECT and of `OPTIONS *` is no path.
  const path = upload.path.startsWith("/") ? `/${over.replace("/", "-")}${upload.path}` : upload.path;
  const before: Answer[] = [];
  const after: Answer[] = [];
  for (let i = 0; i < times; i++) {
    before.push(await sendUpload({ ...upload, path }, without[over]));
    after.push(await sendUpload({ ...upload, path }, withMirror[over]));
  }
  return [fastestOf(before), fastestOf(after)];
}

function fastestOf(answers: readonly Answer[]): Answer {
  return answers.reduce((fastest, answer) => (answer.ms < fastest.ms ? answer : fastest));
}

function line(name: string, ...answers: readonly Answer[]): string {
  const cells = answers.map(({ seen, ms }) =>
    `${seen.padEnd(10)}${Number.isNaN(ms) ? "" : `${ms.toFixed(0)} ms`}`.padEnd(20),
  );
  return `${name.padEnd(50)}${cells.join("")}`.trimEnd();
}

/** Answers once the request has ended, or at once if its path has `early`. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  request.on("error", () => {});
  if (request.url?.includes("/early")) {
    response.writeHead(200);
    response.write("early");
    request.resume().on("end", () => response.end());
  } else {
    request.resume().on("end", () => response.end("answer"));
  }
}
