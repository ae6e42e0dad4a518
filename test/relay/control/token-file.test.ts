import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readTokenFile, TokenFileError, takeTokenFile } from "../../../relay/control/token-file.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";
import { ChildScript } from "../../support/processes/child-script.ts";

const isRoot = process.geteuid?.() === 0;

describe("the file with the token of the control API", () => {
  it("is created with a token that nobody can guess, for its owner only", () => {
    const [first, second] = [place(), place()];
    const tokens = [takeTokenFile(first), takeTokenFile(second)];

    expect(tokens[0]).toMatch(/^[\w-]{43}$/);
    expect(tokens[1]).not.toBe(tokens[0]);
    expect(statSync(first).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(first)).mode & 0o777).toBe(0o700);
    expect(readdirSync(dirname(first))).toEqual(["control-token"]);
  });

  it("keeps its token, and gives it to whoever may read it", () => {
    const path = place();
    const token = takeTokenFile(path);

    expect([takeTokenFile(path), readTokenFile(path)]).toEqual([token, token]);
    expect(readFileSync(path, "utf8")).toBe(`${token}\n`);
  });

  it("is missing until a host has started", () => {
    expect(readTokenFile(place())).toBeUndefined();
  });

  it("has one token for all processes that create it at once", async () => {
    const path = place();
    const takers = Array.from({ length: 6 }, () => new ChildScript("token-taker.ts", [path]));
    await Promise.all(takers.map((taker) => taker.printed(1)));
    for (const taker of takers) taker.start();
    await Promise.all(takers.map((taker) => taker.exited()));

    expect(new Set(takers.map(({ lines }) => lines[1]))).toEqual(new Set([readTokenFile(path)]));
    expect(readdirSync(dirname(path))).toEqual(["control-token"]);
  });

  it.each([0o604, 0o602, 0o644, 0o666])("is not used by a host if other users may use it: %o", (mode) => {
    const path = written("correct-horse-battery");
    chmodSync(path, mode);

    expect(() => takeTokenFile(path)).toThrow(`other users of this machine may use ${path}: take this away with chmod`);
  });

  it("may be read by a group", () => {
    const path = written("correct-horse-battery");
    chmodSync(path, 0o640);

    expect(takeTokenFile(path)).toBe("correct-horse-battery");
  });

  it.runIf(isRoot)("is not used by a host if another user has put it there", () => {
    const path = written("correct-horse-battery");
    chownSync(path, 12_345, 12_345);

    expect(() => takeTokenFile(path)).toThrow(`${path} belongs to user 12345, who may know its token: delete it`);
    // A command of root may call the host of another user.
    expect(readTokenFile(path)).toBe("correct-horse-battery");
  });

  it.each(["", "short", "a token with spaces in it", "x".repeat(5_000)])("is refused if it holds no token", (text) => {
    const path = written(text);

    for (const use of [readTokenFile, takeTokenFile]) {
      expect(() => use(path)).toThrow(
        `${path} does not hold a token (at least 16 printable characters, without spaces)`,
      );
    }
  });

  it.each(["FIFO", "directory", "device"])("is refused at once if it is a %s", async (kind) => {
    const path = place();
    mkdirSync(kind === "directory" ? path : dirname(path), { recursive: true });
    if (kind === "FIFO") execFileSync("mkfifo", ["-m", "600", path]);
    if (kind === "device") symlinkSync("/dev/zero", path);
    // In a process of its own: a blocked one does not answer.
    const script = fileURLToPath(new URL("../../support/processes/token-taker.ts", import.meta.url));
    const { stderr } = spawnSync(process.execPath, [script, path], { input: "go\n", timeout: 5_000, encoding: "utf8" });

    expect(stderr).toContain(`the token in ${path} cannot be read: it is not a regular file`);
    expect(() => readTokenFile(path)).toThrow("it is not a regular file");
  });

  it("names a directory that cannot be created", () => {
    const path = join(written(""), "data", "control-token");

    expect(() => takeTokenFile(path)).toThrow(TokenFileError);
    expect(() => takeTokenFile(path)).toThrow("ENOTDIR");
  });
});

function place(): string {
  return join(temporaryDirectory(), "data", "control-token");
}

function written(text: string): string {
  const path = place();
  mkdirSync(dirname(path));
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}
