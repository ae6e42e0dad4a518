import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { configFile } from "../support/lambda/lambda-config.ts";
import { type CommandResult, spoaRelay } from "../support/processes/command-line.ts";

describe("an export of a capture with a broken object", () => {
  it.each(["har", "k6"])("is a complete %s file, in a pipe and on disk", async (format) => {
    const shop = createShop();
    for (const second of [0, 1, 2]) await shop.run("import", "shop", shop.goreplayFile(`${second}.gor`, [second]));
    const reference = createShop();
    for (const second of [0, 2]) {
      await reference.run("import", "shop", reference.goreplayFile(`${second}.gor`, [second]));
    }
    const [, broken] = shop.objects();
    writeFileSync(broken, readFileSync(broken).fill(0xff, 30));
    const file = join(shop.directory, "exported");
    const piped = await shop.run("export", "shop", "--format", format);
    const written = await shop.run("export", "shop", "--format", format, "-o", file);
    const { stdout: expected } = await reference.run("export", "shop", "--format", format);

    for (const { code, stderr } of [piped, written]) {
      expect(stderr).toContain("1 part of the capture cannot be read: missing 1 request");
      expect(code).toBe(1);
    }
    expect(piped.stdout).toBe(expected);
    expect(readFileSync(file, "utf8")).toBe(expected);
  });
});

describe("an import", () => {
  it("adds nothing from files that were imported before, in any order", async () => {
    const shop = createShop();
    const [first, second] = [shop.goreplayFile("1.gor", [0, 5]), shop.goreplayFile("2.gor", [3, 8])];
    await shop.run("import", "shop", first);
    await shop.run("import", "shop", second);
    const { code } = await shop.run("import", "shop", second, first, first);

    expect(code).toBe(0);
    expect(await shop.paths()).toEqual(["/0", "/3", "/5", "/8"]);
  });
});

describe("commands that only read a capture", () => {
  it("create nothing in its directory, so it may be a read-only copy", async () => {
    const shop = createShop();
    await shop.run("import", "shop", shop.goreplayFile("1.gor", [0]));
    const kept = join(shop.directory, "kept");
    rmSync(join(kept, ".unfinished"), { recursive: true });
    const { code } = await shop.run("captures", "list");

    expect(await shop.paths()).toEqual(["/0"]);
    expect(readdirSync(kept)).toEqual(["shop"]);
    expect(code).toBe(0);
  });

  it("say so if the store is not a directory", async () => {
    const shop = createShop();
    writeFileSync(join(shop.directory, "kept"), "");
    const { code, stderr } = await shop.run("captures", "list");

    expect(stderr).toContain(`${join(shop.directory, "kept")}: another file or directory is in the way`);
    expect(code).toBe(1);
  });
});

interface Shop {
  readonly directory: string;
  run(...args: readonly string[]): Promise<CommandResult>;
  /** Files of the capture, in its order. */
  objects(): readonly string[];
  paths(): Promise<readonly string[]>;
  /** A GoReplay file with a request at each of these seconds. */
  goreplayFile(name: string, seconds: readonly number[]): string;
}

/** Configures a capture `shop` in a directory; starts no process. */
function createShop(): Shop {
  const config = configFile(
    "queue: embedded:./data",
    'targets: { a: { url: "http://127.0.0.1:1", rate: 1/s } }',
    "captures: { shop: { store: ./kept } }",
  );
  const directory = dirname(config);
  const run = (...args: readonly string[]) => spoaRelay(...args, "--config", config);
  const startSeconds = Date.UTC(2026, 10, 20, 17) / 1_000;
  return {
    directory,
    run,
    objects: () =>
      readdirSync(join(directory, "kept/shop"), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => join(parentPath, name))
        .sort(),
    paths: async () => {
      const { stdout } = await run("captures", "cat", "shop", "--format", "json");
      return stdout.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line).path]));
    },
    goreplayFile: (name, seconds) => {
      const records = seconds.map(
        (second) =>
          `1 ${second} ${startSeconds + second}000000000 0\nGET /${second} HTTP/1.1\r\nHost: a\r\n\r\n\n🐵🙈🙉\n`,
      );
      writeFileSync(join(directory, name), records.join(""));
      return join(directory, name);
    },
  };
}
