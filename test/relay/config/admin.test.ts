import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import type { Config } from "../../../relay/config/config.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import { assertReplayable, assertRunnable } from "../../../relay/config/replayable.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

describe("the token of the control API", () => {
  it("is in a file beside the data unless the configuration has it", () => {
    const directory = temporaryDirectory();
    const hostOf = (text: string) => load(text, directory).host;

    expect(hostOf("").tokenFile).toBe(join(directory, "packs", "control-token"));
    expect(hostOf("host: { tokenFile: ../run/token }").tokenFile).toBe(resolve(directory, "../run/token"));
    expect(hostOf("host: { token: 0123456789abcdef }")).not.toHaveProperty("tokenFile");
    expect(hostOf('host: { admin: "unix:/run/x.sock" }')).not.toHaveProperty("tokenFile");
  });

  it.each(["https://10.0.0.7", "http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9"])(
    "may be sent to an origin that nobody else on the network can read: %s",
    (control) => {
      expect(load(`control: "${control}"\nhost: { token: 0123456789abcdef }`).host.token).toBe("0123456789abcdef");
    },
  );

  it.each(["http://10.0.0.7:12347", "http://relay.example", "http://0.0.0.0:12347", "http://localhost.example"])(
    "may not be sent over the network unencrypted, which only commands would do: %s",
    (control) => {
      const config = load(`control: "${control}"\nhost: { token: 0123456789abcdef }`);
      const without = load(`control: "${control}"`);
      const mistake = `control: ${control} would get host.token unencrypted: use https, or a tunnel that begins on 127.0.0.1`;

      expect(config.warnings).toEqual([`${mistake}; until then, commands refuse to call it`]);
      expect(() => assertReplayable(config)).not.toThrow();
      expect(() => assertRunnable(config, "", 0)).toThrow(`${config.file}:1: ${mistake}`);
      expect(without.warnings).toEqual([]);
      expect(() => assertRunnable(without, "", 0)).not.toThrow();
    },
  );
});

describe("an admin address that other machines can reach", () => {
  it.each([
    ['agent: { admin: "0.0.0.0:9" }', "agent.admin is 0.0.0.0:9: any host that reaches it can read the figures"],
    [
      'host: { admin: "10.0.0.5:9", token: 0123456789abcdef }',
      "host.admin is 10.0.0.5:9, which serves HTTP without TLS: anyone on the network path can read the token",
    ],
    ['host: { admin: "10.0.0.5:9", tokenFile: ./token }', "host.admin is 10.0.0.5:9, which serves HTTP without TLS"],
  ])("is a warning: %s", (text, warning) => {
    expect(load(text).warnings).toEqual([expect.stringContaining(warning)]);
  });
});

function load(text: string, directory = temporaryDirectory()): Config {
  const file = join(directory, "spoa-relay.yaml");
  const rest = "queue: embedded:./packs\ntargets: { t: { url: http://127.0.0.1:1, rate: 1/s } }\n";
  writeFileSync(file, `${text}\n${rest}`);
  return loadConfig(file, {});
}
