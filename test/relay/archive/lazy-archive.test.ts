import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseBucketUrl } from "../../../relay/archive/archive-url.ts";
import { LazyArchive } from "../../../relay/archive/lazy-archive.ts";
import { describeArchive, namesOf } from "../../contract/archive-contract.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

describeArchive("LazyArchive", async () => new LazyArchive({ kind: "directory", directory: temporaryDirectory() }));

describe("LazyArchive", () => {
  it("uses a directory as soon as it can be created, and again after it was removed", async () => {
    const directory = join(temporaryDirectory(), "kept");
    writeFileSync(directory, "something else");
    const archive = new LazyArchive({ kind: "directory", directory });

    await expect(archive.put("a", Uint8Array.of(1))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    rmSync(directory);
    await archive.put("a", Uint8Array.of(1));
    rmSync(directory, { recursive: true });
    await expect(archive.put("b", Uint8Array.of(1))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await archive.put("b", Uint8Array.of(1));

    expect(await namesOf(archive)).toEqual(["b"]);
  });

  it("can be closed without having been used", () => {
    const directory = join(temporaryDirectory(), "kept");
    const archive = new LazyArchive({ kind: "directory", directory });

    expect(() => archive.close()).not.toThrow();
  });
});

describe("the URL of a bucket", () => {
  it.each([
    ["s3://our-captures", { bucket: "our-captures", prefix: "" }],
    ["s3://our-captures/", { bucket: "our-captures", prefix: "" }],
    ["s3://our.captures/shop/eu", { bucket: "our.captures", prefix: "shop/eu" }],
    ["s3://our-captures/shop/", { bucket: "our-captures", prefix: "shop" }],
  ])("%s is valid", (text, folder) => {
    expect(parseBucketUrl(text)).toEqual(folder);
  });

  it.each([
    "s3://",
    "s3://ab",
    "s3://Kept",
    "s3://kept/../other",
    "s3://kept//a",
    "s3://kept/a b",
    "s3://kept/ü",
    "https://kept/a",
    `s3://kept/${"a".repeat(301)}`,
  ])("%s is invalid", (text) => {
    expect(parseBucketUrl(text)).toBeUndefined();
  });
});
