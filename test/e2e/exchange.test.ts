import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { DirectoryArchive } from "../../relay/archive/directory.ts";
import { compactCapture } from "../../relay/capture/capture-compaction.ts";
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

describe("what an import says", () => {
  it("tells new requests from those that are already there, also after the host has merged objects", async () => {
    const shop = createShop();
    const first = await shop.run("import", "shop", shop.goreplayFile("1.gor", [0, 5]));
    await shop.run("import", "shop", shop.goreplayFile("2.gor", [3]));
    await shop.merge();
    const again = await shop.run("import", "shop", shop.goreplayFile("renamed.gor", [0, 5]));
    const grown = await shop.run("import", "shop", shop.goreplayFile("grown.gor", [0, 5, 9]));

    expect(shop.objects()).toHaveLength(2);
    expect(first.stdout).toBe(
      "imported 2 requests into shop: 2 new, 0 already there\nhost  new  already there  left out\na     2    0              0\n",
    );
    expect(again.stdout).toContain("imported 2 requests into shop: 0 new, 2 already there\n");
    expect(grown.stdout).toContain("imported 3 requests into shop: 1 new, 2 already there\n");
    expect(await shop.paths()).toEqual(["/0", "/3", "/5", "/9"]);
  });

  it("does not depend on other files with the same ids of connections", async () => {
    const shop = createShop();
    const [first, second] = [shop.goreplayFile("1.gor", [0, 5], "c"), shop.goreplayFile("2.gor", [3, 8], "c")];
    await shop.run("import", "shop", first, second);
    const again = await shop.run("import", "shop", second, first, first);

    expect(again.stdout).toContain("imported 6 requests into shop: 0 new, 6 already there\n");
    expect(await shop.paths()).toEqual(["/0", "/3", "/5", "/8"]);
    expect(new Set(await shop.ids()).size).toBe(4);
  });

  it("chooses by host and condition, and counts what it leaves out by reason and host", async () => {
    const shop = createShop();
    const file = shop.harFile("day.har", [
      ["GET", "https://shop.example/api/a", 200],
      ["GET", "https://shop.example:8443/api/b", 200],
      ["GET", "https://shop.example/logo.png", 200],
      ["GET", "https://ads.example/x", 200],
      ["GET", "https://ads.example/y", 0],
      ["GET", "data:,x", 200],
    ]);
    const chosen = await shop.run("import", "shop", file, "--host", "shop.example", "--where", "path=^/api/");
    const everything = await shop.run("import", "shop", file);

    expect([chosen.code, everything.code]).toEqual([0, 0]);
    expect(chosen.stdout.split("\n")).toEqual([
      "imported 2 requests into shop: 2 new, 0 already there",
      "left out 4 requests:",
      "  1  blocked, failed or aborted: no response",
      "  1  not an http or https URL",
      "  1  no match for --where",
      "  1  another host (--host)",
      "host               new  already there  left out",
      "ads.example        0    0              2",
      "shop.example       1    0              1",
      "(not known)        0    0              1",
      "shop.example:8443  1    0              0",
      "",
    ]);
    expect(everything.stdout).toContain("imported 4 requests into shop: 2 new, 2 already there\n");
    expect(everything.stderr).toContain(
      "note: a replay sends the requests to all 3 hosts to its target; --host chooses a host",
    );
  });

  it.each([
    [["--host", "http://shop.example/"], "It must be a host, such as shop.example or shop.example:8080."],
    [["--where", "path"], "It must be path=REGEX"],
  ])("refuses %j", async (flags, message) => {
    const shop = createShop();
    const { code, stderr } = await shop.run("import", "shop", shop.goreplayFile("1.gor", [0]), ...flags);

    expect(stderr).toContain(message);
    expect(code).not.toBe(0);
  });

  it("has exit code 1 for damage only, and imports the rest", async () => {
    const shop = createShop();
    const file = shop.goreplayFile("1.gor", [0, 5]);
    writeFileSync(file, readFileSync(file, "utf8").replace("GET /0 HTTP", "GET /0 HT"));
    const { code, stdout, stderr } = await shop.run("import", "shop", file);

    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("1.gor: record 1 at byte 0: ") });
    expect(stdout).toContain("imported 1 request into shop: 1 new, 0 already there\n");
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
  ids(): Promise<readonly string[]>;
  /** Merges small objects, as a host does. */
  merge(): Promise<void>;
  /** A GoReplay file with a request at each of these seconds; without an id, the second is its id. */
  goreplayFile(name: string, seconds: readonly number[], id?: string): string;
  harFile(name: string, entries: readonly (readonly [method: string, url: string, status: number])[]): string;
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
  const lines = async (): Promise<{ readonly path: string; readonly id: string }[]> => {
    const { stdout } = await run("captures", "cat", "shop", "--format", "json");
    return stdout.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
  };
  return {
    directory,
    run,
    objects: () =>
      readdirSync(join(directory, "kept/shop"), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => join(parentPath, name))
        .sort(),
    paths: async () => (await lines()).map(({ path }) => path),
    ids: async () => (await lines()).map(({ id }) => id),
    merge: async () => {
      const archive = await DirectoryArchive.open(join(directory, "kept"));
      await compactCapture(archive, "shop", { fromMs: 0, toMs: Number.POSITIVE_INFINITY });
      archive.close();
    },
    harFile: (name, entries) => {
      const all = entries.map(([method, url, status], i) => ({
        startedDateTime: `2026-11-20T18:00:0${i}Z`,
        request: { method, url, headers: [] },
        response: { status },
      }));
      writeFileSync(join(directory, name), JSON.stringify({ log: { entries: all } }));
      return join(directory, name);
    },
    goreplayFile: (name, seconds, id) => {
      const records = seconds.map(
        (second) =>
          `1 ${id ?? second} ${startSeconds + second}000000000 0\nGET /${second} HTTP/1.1\r\nHost: a\r\n\r\n\n🐵🙈🙉\n`,
      );
      writeFileSync(join(directory, name), records.join(""));
      return join(directory, name);
    },
  };
}
