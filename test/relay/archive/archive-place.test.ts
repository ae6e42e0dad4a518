import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { openArchive } from "../../../relay/archive/archive-place.ts";
import { DirectoryArchive } from "../../../relay/archive/directory.ts";
import { S3Archive } from "../../../relay/archive/s3.ts";

describe("openArchive", () => {
  it("creates a missing directory", async () => {
    const root = mkdtempSync(join(tmpdir(), "archive-place-"));
    onTestFinished(() => rmSync(root, { recursive: true }));

    const archive = await openArchive({ kind: "directory", directory: join(root, "new") });
    await archive.put("a", Uint8Array.of(1));

    expect(archive).toBeInstanceOf(DirectoryArchive);
    expect(await archive.get("a")).toEqual(Buffer.of(1));
  });

  it("opens a bucket without calling S3", async () => {
    const archive = await openArchive({ kind: "s3", bucket: "captures", region: "eu-central-1" });
    onTestFinished(() => archive.close());

    expect(archive).toBeInstanceOf(S3Archive);
  });
});
