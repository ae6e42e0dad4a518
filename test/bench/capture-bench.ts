import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { DirectoryArchive } from "../../relay/archive/directory.ts";
import type { PutResult } from "../../relay/archive/port.ts";
import { compactCapture } from "../../relay/capture/capture-compaction.ts";
import { sumCapture } from "../../relay/capture/capture-index.ts";
import { type CapturedShare, writeCapture } from "../../relay/capture/capture-writer.ts";
import { toPacks } from "../../relay/capture/request-packs.ts";
import { startJob } from "../../relay/job/job-request.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { openPack } from "../../relay/pack/envelope.ts";
import { decodePack } from "../../relay/pack/pack.ts";
import { EmbeddedState } from "../../relay/state/embedded/state.ts";
import { burstyRequests } from "../support/data/bursty-requests.ts";
import { Traffic } from "../support/processes/traffic.ts";
import type { Row } from "./table.ts";
import { createPacks } from "./traffic-packs.ts";

const objectCount = 100_000;
const objectEveryMs = 1_000;
const requestCount = 100_000;
const seed = 7;
// The size of an object that the fan-out of one host writes.
const packsAtOnce = 8;
const startMs = Date.UTC(2026, 10, 20);
const hourMs = 3_600_000;
const everything = { fromMs: 0, toMs: Number.POSITIVE_INFINITY };
const main = resolve(import.meta.dirname, "../../dist/spoa-relay.js");

/** Measures captures in a directory: their index, their size on disk, and how fast they are read. */
export async function benchCaptures(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-captures-"));
  try {
    return [...(await benchIndex(directory)), ...(await benchContent(directory))];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function benchIndex(directory: string): Promise<Row[]> {
  const root = join(directory, "many");
  await writeManyObjects(root);
  const archive = DirectoryArchive.open(root);
  const hour = { fromMs: startMs + 10 * hourMs, toMs: startMs + 11 * hourMs };
  const [all, allMs] = await timed(() => sumCapture(archive, "peak", everything));
  const [some, someMs] = await timed(() => sumCapture(archive, "peak", hour));
  const state = EmbeddedState.open(join(directory, "state"));
  const place = {
    targets: [{ name: "staging", ratePerSecond: Number.POSITIVE_INFINITY }],
    captures: new Map([["peak", archive]]),
    jobs: state.jobs,
  };
  const request = { capture: "peak", target: "staging", pace: { kind: "asap" } } as const;
  const [, wholeJobMs] = await timed(() => startJob(place, request, Date.now()));
  const [, hourJobMs] = await timed(() => startJob(place, { ...request, ...hour }, Date.now()));
  await state.close();
  return [
    { what: `list ${count(all.objects)} objects`, value: ms(allMs) },
    { what: `list an hour of them, ${count(some.objects)} objects`, value: ms(someMs) },
    { what: "start a job over all of them", value: ms(wholeJobMs) },
    { what: "start a job over that hour", value: ms(hourJobMs) },
  ];
}

async function benchContent(directory: string): Promise<Row[]> {
  const store = join(directory, "content");
  const archive = DirectoryArchive.open(store);
  const contents = createPacks(new Traffic(seed), requestCount).map(({ pack }) => opened(openPack(pack)));
  const contentBytes = contents.reduce((sum, content) => sum + content.length, 0);
  const shares = contents.map((content): CapturedShare => {
    const pack = opened(decodePack(content));
    return { pack, requests: pack.requests };
  });
  for (let i = 0; i < shares.length; i += packsAtOnce) {
    await writeCapture(archive, "shop", shares.slice(i, i + packsAtOnce));
  }
  const written = await sumCapture(archive, "shop", everything);
  await compactCapture(archive, "shop", everything);
  const merged = await sumCapture(archive, "shop", everything);
  const config = join(directory, "spoa-relay.yaml");
  writeFileSync(
    config,
    "queue: embedded:./data\ncaptures: { shop: { store: ./content } }\ntargets: { t: { url: http://127.0.0.1:9, rate: 1/s } }\n",
  );
  const perRequest = (bytes: number) => `${(bytes / requestCount).toFixed(0)} bytes`;
  const rows: Row[] = [
    {
      what: "stored per request, as written",
      value: `${perRequest(written.bytes)} in ${written.objects} objects, of ${perRequest(contentBytes)} uncompressed`,
    },
    { what: "stored per request, merged", value: `${perRequest(merged.bytes)} in ${merged.objects} objects` },
  ];
  for (const format of ["http", "json"]) {
    const [, tookMs] = await timed(() => runCat(config, format));
    const perSecond = count(Math.round((requestCount * 1_000) / tookMs));
    rows.push({
      what: `captures cat --format ${format}`,
      value: `${perSecond} requests/s, ${(contentBytes / tookMs / 1_000).toFixed(0)} MB/s`,
    });
  }
  return rows;
}

/** Writes without waiting for the disk, which is not part of the measurement. */
async function writeManyObjects(root: string): Promise<void> {
  const archive = {
    async put(name: string, bytes: Uint8Array): Promise<PutResult> {
      const path = join(root, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, bytes);
      return "stored";
    },
  };
  const [request] = burstyRequests(1, 1_000, startMs);
  for (let i = 0; i < objectCount; i++) {
    const captured = { ...request, capturedAtMs: startMs + i * objectEveryMs };
    const [pack] = toPacks([captured], { agent: "bench", sequence: i + 1 });
    await writeCapture(archive, "peak", [{ pack, requests: pack.requests }]);
  }
}

/** Runs the installed command, including its start; discards its output. */
async function runCat(config: string, format: string): Promise<void> {
  const args = [main, "captures", "cat", "shop", "--format", format, "--secrets", "--config", config];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  child.stdout.resume();
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`captures cat exited with ${code}`);
}

async function timed<T>(work: () => Promise<T>): Promise<readonly [result: T, tookMs: number]> {
  const startedMs = performance.now();
  const result = await work();
  return [result, performance.now() - startedMs];
}

function opened<T>(result: T | DecodeError): T {
  if (result instanceof DecodeError) throw result;
  return result;
}

function ms(tookMs: number): string {
  return `${count(Math.round(tookMs))} ms`;
}

function count(number: number): string {
  return number.toLocaleString("en-US");
}
