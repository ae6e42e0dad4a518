import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../../relay/config/load.ts";
import { assertLoopKey, assertReplayable } from "../../../relay/config/replayable.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const key = "0123456789abcdef";
const env = { KEY: "from-the-environment", SHORT: "short", SPACED: "a key with some spaces" };

describe("loopKey and loopHeader", () => {
  it.each([
    ["", "x-mirror-id", []],
    [`loopKey: ${key}x`, "x-mirror-id", [`${key}x`]],
    ["loopKey: { env: KEY }\nloopHeader: X-Replayed", "x-replayed", [env.KEY]],
    [`loopKey: [{ env: KEY }, ${key}x]`, "x-mirror-id", [env.KEY, `${key}x`]],
    ["loopHeader: x-mirror-mark", "x-mirror-mark", []],
  ])("are the same for agents and targets: %s", (text, header, keys) => {
    const { loopGuard, targets } = load(text);

    expect(loopGuard).toEqual({ header, keys });
    expect(targets[0].loopGuard).toEqual({ header, keys });
  });

  it.each([
    ["loopKey: short", /:3: loopKey: must be at least 16 printable characters/],
    ["loopKey: []", /:3: loopKey: /],
    ["loopHeader: Host", /:3: loopHeader: must have less than 32 characters and be no header of the connection/],
    [`loopHeader: x-${"y".repeat(30)}`, /:3: loopHeader: must have less than 32 characters/],
    ["loopHeader: x-mirror-attempt", /:3: loopHeader: is a header that spoa-relay writes itself/],
    ["loopHeader: user-agent", /:3: loopHeader: must begin with x-, and not with x-forwarded-/],
    ["loopHeader: x-forwarded-for", /:3: loopHeader: must begin with x-, and not with x-forwarded-/],
    ["loopHeader: a b", /:3: loopHeader: is not a valid header name/],
    ["loopHeader: x-set", /targets\.t\.headers\.set: cannot set x-set, which is loopHeader/],
    ["loopHeader: x-token", /targets\.t\.token\.header: is x-token, which is loopHeader/],
  ])("are refused: %s", (text, mistake) => {
    expect(() => load(text)).toThrow(mistake);
  });

  it.each([
    ["loopKey: { env: NONE }", /:3: loopKey: the environment variable NONE is not set/],
    ["loopKey: { env: SHORT }", /:3: loopKey: the environment variable SHORT is not at least 16 printable characters/],
    ["loopKey: [{ env: KEY }, { env: SPACED }]", /:3: loopKey\.1: the environment variable SPACED is not at least 16/],
  ])("from the environment have to be there before agent or replay start: %s", (text, mistake) => {
    const config = load(text);

    expect(() => assertLoopKey(config)).toThrow(mistake);
    expect(() => assertReplayable(config, "t")).toThrow(mistake);
    expect(() => assertLoopKey(config)).not.toThrow(env.SPACED);
  });
});

function load(text: string) {
  const file = join(temporaryDirectory(), "spoa-relay.yaml");
  const target =
    "{ url: http://127.0.0.1:1, rate: 1/s, headers: { set: { x-set: a } }, token: { command: [a], header: x-token } }";
  writeFileSync(file, `queue: embedded:./data\ntargets: { t: ${target} }\n${text}\n`);
  return loadConfig(file, env);
}
