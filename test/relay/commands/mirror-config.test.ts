import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  assertAgrees,
  type MirrorFlags,
  parseRuntimeMs,
  writeMirrorConfig,
} from "../../../relay/commands/mirror-config.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

it.each([
  ["0", 0],
  ["1500", 1_500],
  ["30s", 30_000],
  ["1h", 3_600_000],
  ["soon", undefined],
])("reads the running time as spoa-mirror does: %s", (text, runtimeMs) => {
  expect(parseRuntimeMs(text)).toBe(runtimeMs);
});

describe("the configuration of mirror", () => {
  it.each<Partial<MirrorFlags>>([
    {},
    { address: "::1" },
    { address: "0.0.0.0" },
    { url: new URL("http://127.0.0.1:80/") },
    { url: new URL("https://Shop.Example/base/path") },
    { url: new URL("http://[::1]:8082/a%20b") },
  ])("agrees with the flags that it was written for: %j", (changes) => {
    const flags = { ...usual, ...changes };
    const file = writeMirrorConfig(flags, temporaryDirectory());

    expect(() => assertAgrees(loadConfig(file, {}), flags)).not.toThrow();
  });

  it.each<[Partial<MirrorFlags>, string]>([
    [{ port: 4_000 }, "agent.listen is 127.0.0.1:12345, and the flags --address and --port say 127.0.0.1:4000"],
    [{ address: "10.0.0.5" }, "agent.listen is 127.0.0.1:12345, and the flags --address and --port say 10.0.0.5:12345"],
    [{ url: new URL("http://127.0.0.1:1") }, "targets.mirror has the URL http://127.0.0.1:8082/, and the flag"],
    [{ url: new URL("https://127.0.0.1:8082") }, "says https://127.0.0.1:8082/"],
    [{ url: new URL("http://127.0.0.1:8082/x") }, "says http://127.0.0.1:8082/x"],
  ])("does not agree with other flags: %j", (changes, difference) => {
    const config = loadConfig(writeMirrorConfig(usual, temporaryDirectory()), {});

    expect(() => assertAgrees(config, { ...usual, ...changes })).toThrow(difference);
  });

  it("is never written over a file, not even an empty one", () => {
    const directory = temporaryDirectory();
    for (const text of ["", "# mine\n"]) {
      writeFileSync(join(directory, "spoa-relay.yaml"), text);

      expect(readFileSync(writeMirrorConfig(usual, directory), "utf8")).toBe(text);
    }
  });
});

const usual: MirrorFlags = { url: new URL("http://127.0.0.1:8082"), address: "127.0.0.1", port: 12_345 };
