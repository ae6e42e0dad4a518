import { describe, expect, it, vi } from "vitest";
import { FunctionSecrets, parseSecretPlaces, readSecrets } from "../../../functions/lambda/function-secrets.ts";
import { openReplay } from "../../../functions/lambda/replay.ts";
import { simulatedMachine } from "../../../relay/process/machine-clock.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { packMessage, requests } from "../../support/data/packs.ts";
import { toLambdaEvent } from "../../support/lambda/lambda-mapping.ts";
import { LambdaRig } from "../../support/lambda/lambda-rig.ts";
import { ShadowServer } from "../../support/servers/shadow-server.ts";

const places = { KEY: { id: "shop/staging", field: "key" }, TOKEN: { id: "shop/token" } };
const minute = 60_000;

describe("the secrets of a function", () => {
  it("are read all at once, and all that cannot be read are named", async () => {
    const waiting: (() => void)[] = [];
    const read = readSecrets(
      places,
      ({ id }) => new Promise((_, fail) => waiting.push(() => fail(new Error(`no ${id}`)))),
    );
    expect(waiting).toHaveLength(2);
    for (const end of waiting) end();

    await expect(read).rejects.toMatchObject({
      code: "SECRET_UNAVAILABLE",
      message: "{ env: KEY }: no shop/staging; { env: TOKEN }: no shop/token",
    });
  });

  it("are read again after five minutes, and are the same object until one changes", async () => {
    const bench = new Bench();
    const first = await bench.secrets.current();
    bench.nowMs += 5 * minute - 1;
    expect(await bench.secrets.current()).toBe(first);
    expect(bench.reads).toBe(0);
    bench.nowMs += 1;
    expect(await bench.secrets.current()).toBe(first);
    expect(bench.reads).toBe(2);
    bench.stored["shop/token"] = "new";
    bench.nowMs += 5 * minute;

    expect(await bench.secrets.current()).toEqual({ KEY: "a", TOKEN: "new" });
    expect(first).toEqual({ KEY: "a", TOKEN: "b" });
  });

  it("are read again after five minutes in which the uptime stopped, or the clock was set back", async () => {
    const bench = new Bench();
    bench.stored["shop/token"] = "new";
    bench.wallMs += 5 * minute;
    expect(await bench.secrets.current()).toEqual({ KEY: "a", TOKEN: "new" });
    bench.stored["shop/token"] = "newer";
    bench.wallMs -= 60 * minute;
    bench.nowMs += 5 * minute;

    expect(await bench.secrets.current()).toEqual({ KEY: "a", TOKEN: "newer" });
  });

  it("keep their last value while they cannot be read, with a warning and a try each 30 s", async () => {
    const bench = new Bench();
    bench.stored["shop/token"] = undefined;
    bench.stored["shop/staging"] = "new";
    bench.nowMs += 5 * minute;
    expect(await bench.secrets.current()).toEqual({ KEY: "new", TOKEN: "b" });
    bench.nowMs += 30_000 - 1;
    await bench.secrets.current();
    expect(bench.reads).toBe(2);
    bench.stored["shop/token"] = "back";
    bench.nowMs += 1;

    expect(await bench.secrets.current()).toEqual({ KEY: "new", TOKEN: "back" });
    expect(bench.log.lines).toMatchObject([
      { level: "warn", event: "secrets-down", reason: "{ env: TOKEN }: there is no shop/token" },
      { event: "secrets-up" },
    ]);
  });

  it("may be none, for which nothing is read", async () => {
    expect(parseSecretPlaces(undefined)).toEqual({});
    expect(await readSecrets({}, () => Promise.reject(new Error("asked")))).toEqual({});
    expect(() => parseSecretPlaces("{")).toThrow("RELAY_SECRETS is not JSON");
  });
});

describe("the replay of a target with a secret", () => {
  it("sends its value, and the new one after a rotation, without having it in its environment", async () => {
    let value = "first";
    const manager = await ShadowServer.start(() => ({ status: 200, body: JSON.stringify({ SecretString: value }) }));
    const shadow = await ShadowServer.start();
    const rig = await LambdaRig.start("", {
      staging: `url: "${shadow.url.origin}", rate: unlimited, headers: { set: { x-key: { env: KEY } } }`,
    });
    vi.stubEnv("AWS_ENDPOINT_URL_DYNAMODB", rig.dynamo.endpoint);
    let nowMs = 0;
    const env = {
      AWS_REGION: "eu-central-1",
      AWS_ENDPOINT_URL_SECRETS_MANAGER: manager.url.origin,
      RELAY_CONFIG: rig.configFile,
      RELAY_TARGET: "staging",
      RELAY_SECRETS: '{"KEY":{"id":"shop/key"}}',
    };
    const handler = await openReplay(
      env,
      simulatedMachine(() => nowMs),
    );
    const replay = async (sequence: number) => {
      await rig.send("packs", packMessage({ sequence, requests: requests(1) }));
      const event = toLambdaEvent(await rig.receive("packs", 1));
      return handler(event, { getRemainingTimeInMillis: () => minute });
    };
    const answers = [await replay(1)];
    value = "second";
    answers.push(await replay(2));
    nowMs += 5 * minute;
    answers.push(await replay(3));
    value = "a line break\n";
    nowMs += 5 * minute;
    answers.push(await replay(4));

    expect(answers).toEqual(answers.map(() => ({ batchItemFailures: [] })));
    expect(shadow.received.map(({ headers }) => headers["x-key"])).toEqual(["first", "first", "second", "second"]);
    expect(manager.received).toHaveLength(3);
    expect(process.env.KEY).toBeUndefined();
  }, 30_000);

  it("does not start if the secret cannot be read, and says which one", async () => {
    const manager = await ShadowServer.start(() => ({
      status: 400,
      body: '{"__type":"AccessDeniedException","message":"no"}',
    }));
    vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
    const env = {
      AWS_REGION: "eu-central-1",
      AWS_ENDPOINT_URL_SECRETS_MANAGER: manager.url.origin,
      RELAY_SECRETS: '{"KEY":{"id":"shop/key"}}',
    };

    await expect(openReplay(env)).rejects.toThrow(
      "{ env: KEY }: the secret shop/key cannot be read: the role needs secretsmanager:GetSecretValue",
    );
  });
});

class Bench {
  /** The uptime. */
  nowMs = 1_000;
  wallMs = 5_000;
  reads = 0;
  readonly log = new LogLines();
  readonly stored: Record<string, string | undefined> = { "shop/staging": "a", "shop/token": "b" };
  readonly secrets = new FunctionSecrets({
    places,
    read: async ({ id }) => {
      this.reads++;
      const value = this.stored[id];
      if (value === undefined) throw new Error(`there is no ${id}`);
      return value;
    },
    values: { KEY: "a", TOKEN: "b" },
    log: this.log.log,
    machine: { boot: "one", wallMs: () => this.wallMs, uptimeMs: () => this.nowMs },
  });
}
