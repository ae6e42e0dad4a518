import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { syncDirectory as syncArchive } from "../../../relay/archive/durable-file.ts";
import { createDirectory, syncDirectory } from "../../../relay/process/directory.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

it("creates a directory with its parents, readable by the owner only", () => {
  const root = temporaryDirectory();
  createDirectory(join(root, "a", "b", "c"));

  for (const path of ["a", "a/b", "a/b/c"]) expect(statSync(join(root, path)).mode & 0o777).toBe(0o700);
});

it("leaves an existing directory as it is", () => {
  const root = temporaryDirectory();
  mkdirSync(join(root, "a"), { mode: 0o755 });
  createDirectory(join(root, "a"));

  expect(statSync(join(root, "a")).mode & 0o777).toBe(0o755);
});

// With Node's `recursive`, the first two never return.
it.each(["/proc/spoa-relay/data", "/sys/spoa-relay/data", "/dev/null/data"])(
  "throws if %s cannot be created, and names it",
  (directory) => {
    expect(() => createDirectory(directory)).toThrow(`the directory ${directory} cannot be created: E`);
  },
);

it("throws if there is a file of that name", () => {
  const file = join(temporaryDirectory(), "file");
  writeFileSync(file, "");

  expect(() => createDirectory(file)).toThrow(`the directory ${file} cannot be created: EEXIST`);
});

it.each([
  ["queues and journal", async (directory: string) => syncDirectory(directory)],
  ["archives", syncArchive],
])("%s do without syncing a directory if its file system has no such call", async (_, sync) => {
  // It answers EINVAL, as some network file systems do.
  await expect(sync("/proc/self")).resolves.toBeUndefined();
});
