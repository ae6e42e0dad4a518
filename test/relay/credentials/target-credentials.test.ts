import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { TargetConfig, TokenConfig } from "../../../relay/config/config.ts";
import { carriesCredentials } from "../../../relay/credentials/captured-credentials.ts";
import { TargetCredentials } from "../../../relay/credentials/target-credentials.ts";
import type { Lane } from "../../../relay/replay/lane.ts";
import { createLane } from "../../../relay/replay/lane.ts";
import { replayPack } from "../../../relay/replay/replay.ts";
import type { ReplayResult } from "../../../relay/replay/replay-result.ts";
import type { Fate } from "../../../relay/state/port.ts";
import { findSignatureMistake } from "../../support/aws/signature-check.ts";
import { expectedRequest, type RequestParts } from "../../support/data/captured-requests.ts";
import { laneOf, openState } from "../../support/data/lanes.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { pack, requests } from "../../support/data/packs.ts";
import { target } from "../../support/data/targets.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";
import {
  type Answer,
  type Behaviour,
  type ReceivedRequest,
  ShadowServer,
} from "../../support/servers/shadow-server.ts";

const captured = ["Authorization", "Bearer captured", "Cookie", "session=1"];

describe("a token", () => {
  it("replaces captured credentials, and is requested once", async () => {
    const { shadow, endpoint, replay } = await Bench.start({});
    const { settled } = await replay(50);

    expect(settled).toEqual({ "answered.2xx": 50 });
    expect(shadow.received.map(authorizationsOf)).toEqual(Array(50).fill(["Bearer t1"]));
    expect(endpoint.received).toHaveLength(1);
    expect(endpoint.received[0].body.toString()).toBe("client_secret=s3cr3t");
  });

  it("is sent in the configured header and format", async () => {
    const { shadow, replay } = await Bench.start({ header: "x-api-key", format: "key={token};v=1" });
    await replay(1);

    expect(shadow.received[0].headers).toMatchObject({ "x-api-key": "key=t1;v=1", authorization: "Bearer captured" });
  });

  it("can be printed by a command", async () => {
    const command = [process.execPath, "-e", "console.log(JSON.stringify({ access_token: 'from-command' }))"];
    const { shadow, replay } = await Bench.start({ source: { kind: "command", command } });
    await replay(3);

    expect(shadow.received.map(authorizationsOf)).toEqual(Array(3).fill(["Bearer from-command"]));
  });

  it("is renewed once if it is refused, and its requests are retried within the same attempt", async () => {
    const isNew = ({ headers }: ReceivedRequest) => headers.authorization === "Bearer t2";
    const { shadow, endpoint, replay } = await Bench.start({}, { attempts: 1, concurrency: 4 }, (request) => ({
      status: isNew(request) ? 200 : 401,
    }));
    const { settled, result } = await replay(40);

    expect(settled).toEqual({ "answered.2xx": 40 });
    expect([result.again, result.unsent, endpoint.received.length]).toEqual([[], [], 2]);
    expect(new Set(shadow.received.filter(isNew).map(({ path }) => path)).size).toBe(40);
    expect(shadow.received.length).toBeLessThanOrEqual(44);
    expect(new Set(shadow.received.map(({ headers }) => headers["x-mirror-attempt"]))).toEqual(new Set(["1"]));
  });

  it("counts as an answer of the shadow if a new one is refused", async () => {
    const headers = { set: {}, remove: ["authorization", "cookie"] };
    const { shadow, endpoint, counted, replay } = await Bench.start({}, { concurrency: 1, headers }, () => ({
      status: 401,
    }));
    const { settled } = await replay(5);

    expect(settled).toEqual({ "answered.4xx": 5 });
    expect([shadow.received.length, endpoint.received.length]).toEqual([6, 2]);
    expect(await counted()).not.toHaveProperty("answered.expired");
  });

  it("uses a send slot for each retry after a refusal", async () => {
    const arrivedAtMs: number[] = [];
    const { replay } = await Bench.start({}, { ratePerSecond: 100 }, ({ headers }) => {
      arrivedAtMs.push(performance.now());
      return { status: headers.authorization === "Bearer t2" ? 200 : 401 };
    });
    const startedAtMs = performance.now();
    const { settled } = await replay(60);
    const tookMs = arrivedAtMs[arrivedAtMs.length - 1] - startedAtMs;

    expect(settled).toEqual({ "answered.2xx": 60 });
    expect(arrivedAtMs.length).toBeGreaterThan(60);
    // The two clocks may differ by a millisecond or two.
    expect(tookMs).toBeGreaterThanOrEqual((arrivedAtMs.length - 1) * 10 - 2);
  });
});

describe("without a token", () => {
  const denied: Answer = { status: 401, body: '{"error":"invalid_client","client_secret":"s3cr3t"}' };

  it("nothing is sent, and the log says why once, without secrets", async () => {
    const { shadow, endpoint, log, replay } = await Bench.start({}, {}, undefined, () => denied);
    const results = [await replay(20), await replay(20)];

    expect(results.map(({ result }) => result.unsent.length)).toEqual([20, 20]);
    expect([shadow.received.length, endpoint.received.length]).toEqual([0, 1]);
    expect(log.lines).toMatchObject([
      {
        event: "credentials-down",
        target: "staging",
        what: "token",
        reason: `${endpoint.url.origin}/token answers 401 (invalid_client)`,
      },
    ]);
    expect(JSON.stringify(log.lines)).not.toContain("s3cr3t");
  });

  it("requests of a patient caller wait until there is one, and are then sent", async () => {
    let answers = 0;
    const { shadow, log, replay } = await Bench.start({}, {}, undefined, () =>
      ++answers === 1 ? denied : { status: 200, body: "late" },
    );
    const { settled } = await replay(20, true);

    expect(settled).toEqual({ "answered.2xx": 20 });
    expect(shadow.received.map(authorizationsOf)).toEqual(Array(20).fill(["Bearer late"]));
    expect(log.events).toEqual(["credentials-down", "credentials-up"]);
  });

  it("waiting ends when the process stops", async () => {
    const { replayUntil } = await Bench.start({}, {}, undefined, () => "hang");
    const end = new AbortController();
    const replaying = replayUntil(end.signal, 3, true);
    end.abort();

    expect((await replaying).result.unsent).toHaveLength(3);
  });
});

describe("a signature", () => {
  const sign = { service: "lambda", region: "eu-central-1" };

  it("covers the request that arrives, with the credentials of the environment", async () => {
    const keys = { id: "AKIDEXAMPLE", secret: "secret-key", sessionToken: "session" };
    stubAws(keys);
    const { shadow, replay } = await Bench.start(undefined, { sign, path: { prefix: "/base" } });
    const { settled } = await replay(5);

    expect(settled).toEqual({ "answered.2xx": 5 });
    expect(shadow.paths).toContain("/base/0");
    for (const request of shadow.received) {
      expect(findSignatureMistake(request, { ...keys, ...sign })).toBeUndefined();
      expect(request.headers.cookie).toBe("session=1");
    }
  });

  it("that is impossible without credentials holds requests back", async () => {
    stubAws({});
    const { shadow, log, replay } = await Bench.start(undefined, { sign });
    const { result } = await replay(5);

    expect([result.unsent.length, shadow.received.length]).toEqual([5, 0]);
    expect(log.lines).toMatchObject([
      { event: "credentials-down", what: "AWS credentials", reason: expect.stringMatching(/^no AWS credentials \(/) },
    ]);
  });
});

describe("a request that was captured without credentials", () => {
  const path = "/orders?page=2&keys=1";

  it.each<[string, Partial<RequestParts>, boolean]>([
    ["nothing", { headers: ["accept", "*/*"] }, false],
    ["an empty header", { headers: ["Authorization", ""] }, false],
    ["an ordinary query", { path }, false],
    [
      "the token of a page",
      { path: "/?pageToken=x&next_token=1&tokenize=1", headers: ["x-cookie-consent", "1"] },
      false,
    ],
    ["a name that is only hidden from people", { path: "/?key=1", headers: ["X-Amz-Cf-Id", "1"] }, false],
    ["a parameter without a value", { path: "/?token=&access_token" }, false],
    ["a name of a credential in the path", { path: "/token=1" }, false],
    ["Authorization", { headers: ["AUTHORIZATION", "Basic x"] }, true],
    ["a masked header", { headers: ["authorization", "redacted"] }, true],
    ["a cookie", { headers: ["cookie", "session=1"] }, true],
    ["the key of an API", { headers: ["X-Api-Key", "1"] }, true],
    ["the header that the token replaces", { headers: ["X-Tenant", "7"] }, true],
    ["a signed URL", { path: "/a?X-Amz-Date=1&X-Amz-Signature=2" }, true],
    ["a token in the query", { path: "/a?b&access_token=t" }, true],
    ["credentials that the primary accepted", { headers: captured, primary: { status: 404 } }, true],
    ["credentials that the primary refused", { headers: captured, primary: { status: 401 } }, false],
    ["credentials that the primary forbade", { headers: captured, primary: { status: 403 } }, false],
  ])("goes out without those of the target, unless it had %s", (_case, parts, expected) => {
    expect(carriesCredentials(expectedRequest({ headers: [], ...parts }, 0), "x-tenant")).toBe(expected);
  });

  it("goes out as it came, is counted, and its 401 renews no token", async () => {
    const { shadow, endpoint, counted, replay } = await Bench.start({}, {}, () => ({ status: 401 }));
    const { settled } = await replay(3, false, ["x-a", "1"]);

    expect(settled).toEqual({ "answered.4xx": 3 });
    expect(shadow.received.map(authorizationsOf)).toEqual([[], [], []]);
    expect(shadow.received.map(({ headers }) => headers["x-a"])).toEqual(["1", "1", "1"]);
    expect(endpoint.received).toHaveLength(1);
    expect((await counted())["answered.anonymous"]).toBe(3);
  });

  it("is not signed, and keeps its path as it was written", async () => {
    stubAws({ id: "AKIDEXAMPLE", secret: "secret-key" });
    const changes = { sign: { service: "lambda", region: "eu-central-1" }, path: { prefix: "/a+b%c3" } };
    const { shadow, replay } = await Bench.start(undefined, changes);
    await replay(1, false, []);

    expect(shadow.paths).toEqual(["/a+b%c3/0"]);
    expect(authorizationsOf(shadow.received[0])).toEqual([]);
  });

  it("gets those of the target if they are for all", async () => {
    const { shadow, counted, replay } = await Bench.start({}, { credentialsFor: "all" });
    await replay(2, false, []);

    expect(shadow.received.map(authorizationsOf)).toEqual([["Bearer t1"], ["Bearer t1"]]);
    expect(await counted()).not.toHaveProperty("answered.anonymous");
  });
});

describe("captured credentials", () => {
  it.each([
    ["sent, 401", 401, {}, 3],
    ["sent, 403", 403, {}, 3],
    ["sent, 404", 404, {}, undefined],
    ["only the cookie sent, 401", 401, { headers: { set: {}, remove: ["authorization"] } }, 3],
    ["removed, 401", 401, { headers: { set: {}, remove: ["authorization", "cookie"] } }, undefined],
    ["replaced, 401", 401, { headers: { set: { authorization: "x" }, remove: ["cookie"] } }, undefined],
  ])("count as expired only if they are sent and denied: %s", async (_case, status, changes, expired) => {
    const { counted, replay } = await Bench.start(undefined, changes, () => ({ status }));
    const { settled } = await replay(3);

    expect(settled).toEqual({ "answered.4xx": 3 });
    expect((await counted())["answered.expired"]).toBe(expired);
  });

  it("that do not exist do not count as expired", async () => {
    const { lane, counted } = await Bench.start(undefined, {}, () => ({ status: 401 }));
    const signal = new AbortController().signal;
    const whole = pack({ requests: requests(3) });
    await replayPack(lane, whole, whole.requests, { signal, patient: false, onSettled: () => {} });

    expect(await counted()).not.toHaveProperty("answered.expired");
  });
});

interface Replayed {
  readonly settled: Partial<Record<Fate, number>>;
  readonly result: ReplayResult;
}

/** A shadow, a token endpoint that issues t1, t2, t3, …, and a lane between them. */
class Bench {
  readonly shadow: ShadowServer;
  readonly endpoint: ShadowServer;
  readonly log = new LogLines();
  readonly lane: Lane;
  readonly #state = openState();

  /** @param token undefined for a target without a token */
  static async start(
    token: Partial<TokenConfig> | undefined,
    changes: Partial<TargetConfig> = {},
    behaviour?: Behaviour,
    answer?: Behaviour,
  ): Promise<Bench> {
    let issued = 0;
    const issue = () => ({ status: 200, body: JSON.stringify({ access_token: `t${++issued}`, expires_in: 3_600 }) });
    const endpoint = await ShadowServer.start(answer ?? issue);
    const url = new URL("/token", endpoint.url);
    const body = { type: "form", fields: { client_secret: "s3cr3t" } } as const;
    const wanted: TokenConfig = {
      source: { kind: "url", url, headers: {}, body },
      field: "access_token",
      expiresMs: 900_000,
      header: "authorization",
      format: "Bearer {token}",
      ...token,
    };
    const headers = { set: {}, remove: token ? [wanted.header] : [] };
    return new Bench(await ShadowServer.start(behaviour), endpoint, {
      headers,
      ...(token && { token: wanted }),
      ...changes,
    });
  }

  private constructor(shadow: ShadowServer, endpoint: ShadowServer, changes: Partial<TargetConfig>) {
    this.shadow = shadow;
    this.endpoint = endpoint;
    const config = target({ url: shadow.url, ...changes });
    this.lane = createLane({
      ...laneOf(config, this.#state),
      credentials: TargetCredentials.of(config, this.log.log),
    });
  }

  readonly replay = (count: number, patient = false, headers: readonly string[] = captured): Promise<Replayed> =>
    this.replayUntil(new AbortController().signal, count, patient, headers);

  readonly replayUntil = async (
    signal: AbortSignal,
    count: number,
    patient: boolean,
    headers: readonly string[] = captured,
  ): Promise<Replayed> => {
    const whole = pack({ requests: requests(count, { headers: [...headers] }) });
    const settled: Partial<Record<Fate, number>> = {};
    const onSettled = (_: number, fate: Fate) => {
      settled[fate] = (settled[fate] ?? 0) + 1;
    };
    return { result: await replayPack(this.lane, whole, whole.requests, { signal, patient, onSettled }), settled };
  };

  /** The sum of the lane's figures over all minutes. */
  readonly counted = async (): Promise<Record<string, number>> => {
    await this.lane.figures.flush();
    const minutes = await this.#state.figures.read(this.lane.live.config.name, 0, Date.now() + 60_000);
    return Object.fromEntries(minutes.flatMap(({ counts }) => [...counts]));
  };
}

function authorizationsOf({ rawHeaders }: ReceivedRequest): readonly string[] {
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1].toLowerCase() === "authorization");
}

function stubAws({ id, secret, sessionToken }: { id?: string; secret?: string; sessionToken?: string }): void {
  const nowhere = `${temporaryDirectory()}/none`;
  vi.stubEnv("AWS_ACCESS_KEY_ID", id);
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", secret);
  vi.stubEnv("AWS_SESSION_TOKEN", sessionToken);
  vi.stubEnv("AWS_PROFILE", undefined);
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", nowhere);
  vi.stubEnv("AWS_CONFIG_FILE", nowhere);
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
}
