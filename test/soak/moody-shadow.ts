import { writeSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import type { Mood } from "./timetable.ts";

// A shadow in a process of its own. It first prints its port, then reads lines from standard input until that ends: the name of
// a mood, or `report`, for which it prints a `ShadowReport`. Argument: the largest number of requests.

/** The answers of a shadow, without 503s. */
export interface ShadowReport {
  readonly answers: number;
  /** The number of different requests among them. */
  readonly requests: number;
}

const seen = new Uint8Array(Number(process.argv[2]) + 1);
let mood: Mood = "answers";
let answers = 0;
let requests = 0;

const server = createServer((request, response) => {
  request.resume().on("end", () => answer(request, response));
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  writeSync(1, `${port}\n`);
  createInterface(process.stdin)
    .on("line", (line) => {
      if (line === "report") writeSync(1, `${JSON.stringify({ answers, requests } satisfies ShadowReport)}\n`);
      else change(line as Mood, port);
    })
    .on("close", () => process.exit());
});

function answer({ headers }: IncomingMessage, response: ServerResponse): void {
  if (mood === "hangs") return;
  if (mood === "busy") {
    response.writeHead(503, { "retry-after": "1" }).end();
    return;
  }
  answers++;
  // The id ends with the number of the request.
  const number = Number.parseInt(String(headers["x-mirror-id"]).split(":")[1], 16);
  if (seen[number] === 0) requests++;
  seen[number] = 1;
  response.writeHead(mood === "fails" ? 500 : 200).end();
}

function change(next: Mood, port: number): void {
  if (next === mood) return;
  if (mood === "refuses") server.listen(port, "127.0.0.1");
  mood = next;
  if (next === "refuses") server.close();
  // Open requests belong to the old mood: end them.
  server.closeAllConnections();
}
