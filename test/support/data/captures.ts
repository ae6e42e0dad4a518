import type { Archive, PutResult } from "../../../relay/archive/port.ts";
import { type CaptureEntry, CaptureReader, type SkippedPart } from "../../../relay/capture/capture-reader.ts";
import type { CaptureConfig } from "../../../relay/config/config.ts";

/** A capture that keeps everything; its directory is never opened. */
export function captureConfig(changes: Partial<CaptureConfig> = {}): CaptureConfig {
  const store = { kind: "directory", directory: "/nowhere" } as const;
  return { name: "all", store, sample: { fraction: 1 }, keepMs: 86_400_000, ...changes };
}

/** All entries of a capture, in order. */
export async function readCapture(
  archive: Archive,
  capture: string,
  onSkip?: (part: SkippedPart) => void,
): Promise<readonly CaptureEntry[]> {
  const all = { fromMs: 0, toMs: Number.POSITIVE_INFINITY };
  const entries: CaptureEntry[] = [];
  for await (const entry of new CaptureReader(archive, capture, { ...all, ...(onSkip && { onSkip }) })) {
    entries.push(entry);
  }
  return entries;
}

/** An archive in front of a real one that can fail or hang. */
export class MoodyArchive implements Archive {
  mood: "well" | "away" | "hangs" = "well";
  puts = 0;
  readonly #archive: Archive;
  readonly #error: () => Error;
  readonly #hanging: (() => void)[] = [];

  constructor(archive: Archive, error: () => Error) {
    this.#archive = archive;
    this.#error = error;
  }

  async put(name: string, bytes: Uint8Array): Promise<PutResult> {
    this.puts++;
    if (this.mood === "away") throw this.#error();
    if (this.mood === "hangs") await new Promise<void>((resolve) => this.#hanging.push(resolve));
    return await this.#archive.put(name, bytes);
  }

  /** Lets the hanging writes continue. */
  release(): void {
    this.mood = "well";
    for (const resolve of this.#hanging.splice(0)) resolve();
  }

  get(name: string): Promise<Uint8Array | undefined> {
    return this.#archive.get(name);
  }

  list(range: Parameters<Archive["list"]>[0]): ReturnType<Archive["list"]> {
    return this.#archive.list(range);
  }

  delete(names: readonly string[]): Promise<void> {
    return this.#archive.delete(names);
  }
}
