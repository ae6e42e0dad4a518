import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { Config } from "../../../relay/config/config.ts";
import { configJsonSchema, loadConfig } from "../../../relay/config/load.ts";
import { assertReplayable } from "../../../relay/config/replayable.ts";
import { ConfigError } from "../../../relay/config/text.ts";
import { Pattern, Rewrite } from "../../../relay/rules/pattern.ts";
import { schemaMistakes } from "../../support/data/json-schema-check.ts";
import { noRedaction } from "../../support/data/redact-configs.ts";
import { caFile } from "../../support/servers/shadow-server.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-config-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const smallest = `queue: embedded:./data
targets:
  staging:
    url: http://127.0.0.1:8082
    rate: 200/s
`;

const example = `agent:
  listen: unix:/run/spoa-relay.sock
  admin: "[::1]:9000"
  name: edge-1
  workers: 2
  sample: 50%
  stickyBy: {cookie: sid, missing: in}
  when:
    method: [GET, POST]
    path: ^/api/
    header: {X-Env: ^prod$}
  redact:
    headers: [Authorization, X-*-Token]
    cookies: [sid]
    query: [token]
    form: [password, "*pin*"]
    json: [$.user.password, "**.token"]
    dropBodies: [{path: /login*}, {type: image/*}]
    key: {env: REDACT_KEY}
  maxFrame: 1MiB
  connectionBuffer: 32MiB
  pack: {bytes: 48KiB, requests: 200, linger: 100ms}
  buffer: 128MiB
  drain: 5s
host:
  visibility: 1m
  inFlight: 8
  buffer: 64MiB
  token: 0123456789abcdef
control: https://abc.lambda-url.eu-central-1.on.aws
queue: embedded:/var/lib/spoa-relay
targets:
  staging:
    url: https://staging.example
    protocol: auto
    rate: 30/min
    sample: 0.5%
    stickyBy: {header: X-User}
    when: {method: POST}
    concurrency: 8
    timeout: 2s
    attempts: 3
    maxAge: 1h
    host: original
    path: {match: ^/api, replace: /v2}
    headers:
      set: {X-Env: shadow, X-Forwarded-For: {src: true}}
      remove: [Authorization]
    truncated: send
    tls: {ca: ca.pem, verify: true, serverName: shop.example}
    window: 22:00-06:00 Europe/Berlin
    blackout: [Sat 00:00-24:00 UTC, "Sun 03:00 - 04:00 UTC"]
    order: byKey
    key: {cookie: sid}
    breaker: {failures: 5, probeAfter: 2s}
  load:
    url: http://127.0.0.1:8083
    rate: unlimited
    path: {prefix: /load}
log: debug
`;

function load(text: string, env: Record<string, string> = {}): Config {
  const file = join(directory, "spoa-relay.yaml");
  writeFileSync(file, text);
  return loadConfig(file, env);
}

/** The reported mistakes, without the directory of the file. */
function mistakes(text: string, env: Record<string, string> = {}): string[] {
  return mistakesOf(() => load(text, env));
}

function mistakesOf(work: () => void): string[] {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigError) return error.message.replaceAll(`${directory}/`, "").split("\n");
    throw error;
  }
  return [];
}

describe("loadConfig", () => {
  it("fills in everything that the smallest file leaves out", () => {
    const config = load(smallest);

    expect(config.agent).toMatchObject({
      listen: { kind: "tcp", host: "127.0.0.1", port: 12_345 },
      sample: { fraction: 1 },
      redact: noRedaction,
      maxFrameBytes: 16_777_216,
      connectionBufferBytes: 67_108_864,
      pack: { bytes: 61_440, requests: 1_000, lingerMs: 250 },
      bufferBytes: 33_554_432,
      drainMs: 3_000,
    });
    expect(config.agent.name).not.toBe("");
    expect(config.queueDirectory).toBe(join(directory, "data"));
    expect(config.targets).toEqual([
      {
        name: "staging",
        loopGuard: { header: "x-mirror-id", keys: [] },
        url: new URL("http://127.0.0.1:8082"),
        protocol: "http1",
        ratePerSecond: 200,
        sample: { fraction: 1 },
        concurrency: 64,
        timeoutMs: 10_000,
        attempts: 20,
        host: "target",
        headers: { set: {}, remove: [] },
        truncated: "skip",
        tls: { verify: true },
        windows: [],
        blackouts: [],
        breaker: { failures: 10, probeAfterMs: 1_000 },
      },
    ]);
    expect(config.warnings).toEqual([]);
  });

  it("reads every key", () => {
    const { agent, host, queueDirectory, targets, log, control } = load(example);

    expect(agent).toEqual({
      listen: { kind: "unix", path: "/run/spoa-relay.sock" },
      admin: { kind: "tcp", host: "::1", port: 9_000 },
      name: "edge-1",
      workers: 2,
      sample: { fraction: 0.5, stickyBy: { by: "cookie", name: "sid", missing: "in" } },
      when: { methods: ["GET", "POST"], path: new Pattern("^/api/"), headers: { "x-env": new Pattern("^prod$") } },
      redact: {
        headers: ["authorization", "x-*-token"],
        cookies: ["sid"],
        query: ["token"],
        form: ["password", "*pin*"],
        json: [
          ["user", "password"],
          ["**", "token"],
        ],
        dropBodies: [{ path: "/login*" }, { type: "image/*" }],
        key: { env: "REDACT_KEY", value: undefined },
      },
      maxFrameBytes: 1_048_576,
      connectionBufferBytes: 33_554_432,
      pack: { bytes: 49_152, requests: 200, lingerMs: 100 },
      bufferBytes: 134_217_728,
      drainMs: 5_000,
    });
    expect(host).toMatchObject({
      visibilityMs: 60_000,
      inFlight: 8,
      bufferBytes: 67_108_864,
      token: "0123456789abcdef",
    });
    expect(control?.host).toBe("abc.lambda-url.eu-central-1.on.aws");
    expect([queueDirectory, log]).toEqual(["/var/lib/spoa-relay", "debug"]);
    expect(targets[0]).toEqual({
      name: "staging",
      loopGuard: { header: "x-mirror-id", keys: [] },
      url: new URL("https://staging.example"),
      protocol: "auto",
      ratePerSecond: 0.5,
      sample: { fraction: 0.005, stickyBy: { by: "header", name: "x-user", missing: "out" } },
      when: { methods: ["POST"] },
      concurrency: 8,
      timeoutMs: 2_000,
      attempts: 3,
      maxAgeMs: 3_600_000,
      host: "original",
      path: { match: new Rewrite("^/api"), replace: "/v2" },
      headers: { set: { "x-env": "shadow", "x-forwarded-for": { src: true } }, remove: ["authorization"] },
      truncated: "send",
      tls: { ca: join(directory, "ca.pem"), verify: true, serverName: "shop.example" },
      windows: [expect.objectContaining({ zone: "Europe/Berlin", startMinute: 1_320, endMinute: 360 })],
      blackouts: [
        expect.objectContaining({ zone: "UTC", weekdays: new Set([6]) }),
        expect.objectContaining({ zone: "UTC", weekdays: new Set([0]) }),
      ],
      orderBy: { by: "cookie", name: "sid" },
      breaker: { failures: 5, probeAfterMs: 2_000 },
    });
    expect(targets[1]).toMatchObject({ ratePerSecond: Number.POSITIVE_INFINITY, path: { prefix: "/load" } });
  });

  it("warns of a sample of 0%", () => {
    expect(load(`agent: {sample: 0%}\n${smallest}    sample: 0%\n`).warnings).toEqual([
      "targets.staging.sample is 0%: this target receives no requests",
      "agent.sample is 0%: no requests are mirrored",
    ]);
  });

  it("says that a directory is not a file", () => {
    expect(() => loadConfig(directory, {})).toThrow(
      /: cannot be read: it is a directory; name a file with --config FILE$/,
    );
  });

  it("says what to do if there is no file", () => {
    expect(() => loadConfig(join(directory, "nowhere.yaml"), {})).toThrow(
      /nowhere\.yaml: cannot be read: there is no such file; write one \(relay\/README\.md, Configuration\), or name another with --config FILE$/,
    );
  });
});

describe("state in DynamoDB", () => {
  const ingress = "https://sqs.eu-central-1.amazonaws.com/123456789012/relay";
  const inAws = (targets: string, state = "spoa-relay") =>
    load(`queue: ${ingress}\nstate: dynamodb:${state}\ntargets:\n${targets}`).aws;
  const url = "url: http://127.0.0.1:1, rate: 1/s";

  it("expects the targets' queues beside the ingress queue, and the table in its region", () => {
    const elsewhere = "https://sqs.us-east-1.amazonaws.com/123456789012/other";

    expect(inAws(`  a: {${url}}\n  b: {${url}, queue: "${elsewhere}"}\n`)).toEqual({
      table: "spoa-relay",
      tableRegion: "eu-central-1",
      ingressQueue: ingress,
      targetQueues: new Map([
        ["a", `${ingress}-a`],
        ["b", elsewhere],
      ]),
    });
    expect(inAws(`  a: {${url}}\n`, "us-west-2/t.1")).toMatchObject({ table: "t.1", tableRegion: "us-west-2" });
  });

  it("accepts the ARN of a table, which may be in another account", () => {
    const table = "arn:aws:dynamodb:us-west-2:444455556666:table/t.1";

    expect(inAws(`  a: {${url}}\n`, table)).toMatchObject({
      table,
      tableRegion: "us-west-2",
      tableAccount: "444455556666",
    });
  });

  it.each([
    [
      "has the name of the dead-letter queue",
      `  dlq: {${url}}\n  a: {${url}}\n`,
      "dlq",
      "the dead letters of the ingress queue",
    ],
    ["has another's dead letters", `  a: {${url}}\n  a-dlq: {${url}}\n`, "a-dlq", "the dead letters of targets.a"],
    ["reads the ingress queue", `  a: {${url}, queue: "${ingress}"}\n  b: {${url}}\n`, "a", "the ingress queue"],
    ["has another's queue", `  a: {${url}}\n  b: {${url}, queue: "${ingress}-a"}\n`, "b", "targets.a"],
  ])("refuses a target that shares a queue: it %s", (_, targets, name, owner) => {
    expect(() => inAws(targets)).toThrow(new RegExp(`targets\\.${name}\\.queue: .* is already used for ${owner};`));
  });

  it.each([
    ["reads the ingress queue itself if it is the only one and receives everything", url, 0],
    ["has a queue of its own if it receives a sample", `${url}, sample: 50%`, 1],
    ["has a queue of its own if it has a condition", `${url}, when: {method: GET}`, 1],
    ["has the queue that it names", `${url}, queue: "${ingress}-x"`, 1],
  ])("a target %s", (_, keys, queues) => {
    expect(inAws(`  a: {${keys}}\n`)?.targetQueues.size).toBe(queues);
  });

  it("looks for the queue of a target in the target's region", () => {
    const targets = `  a: {url: "http://h", rate: 1/s, region: us-west-2}\n  b: {url: "http://h", rate: 1/s}\n`;

    expect(inAws(targets)?.targetQueues).toEqual(
      new Map([
        ["a", "https://sqs.us-west-2.amazonaws.com/123456789012/relay-a"],
        ["b", `${ingress}-b`],
      ]),
    );
  });

  it("refuses a region other than that of the target's queue", () => {
    const queue = "https://sqs.us-east-1.amazonaws.com/123456789012/other";
    const targets = `  a: {url: "http://h", rate: 1/s, region: us-west-2, queue: "${queue}"}\n`;

    expect(mistakesOf(() => inAws(targets))).toEqual([
      expect.stringContaining("targets.a.region: is us-west-2, but queue is in us-east-1"),
    ]);
  });
});

describe("the deployment", () => {
  it("has defaults for every setting", () => {
    expect(load(smallest).deployment).toEqual({
      tags: {},
      agents: [],
      alarms: { silentAfterMs: 900_000 },
      logDays: 30,
      keepData: true,
      secrets: {},
    });
  });

  it("reads every setting of the file", () => {
    const key = "arn:aws:kms:eu-central-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef";
    const aws = `aws:
  tags: {team: shop}
  key: ${key}
  agents: [arn:aws:iam::444455556666:root]
  alarms: {email: shop@example.com, dailyCost: 2.50 USD, silentAfter: 1h}
  logs: 365d
  keepData: false
  secrets: {KEY: shop/staging, FIELD: "arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop-a1B2c3#key"}
`;

    expect(load(aws + smallest).deployment).toEqual({
      tags: { team: "shop" },
      key,
      agents: ["arn:aws:iam::444455556666:root"],
      alarms: { email: "shop@example.com", dailyCostUsd: 2.5, silentAfterMs: 3_600_000 },
      logDays: 365,
      keepData: false,
      secrets: {
        KEY: { id: "shop/staging" },
        FIELD: { id: "arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop-a1B2c3", field: "key" },
      },
    });
  });

  it("needs no targets if there are captures", () => {
    expect(load("queue: embedded:.\ncaptures:\n  all: {store: ./kept}\n").targets).toEqual([]);
  });
});

describe("a mistake in the file", () => {
  const target = (lines: string) => smallest + lines.replaceAll(/^/gm, "    ");

  it.each([
    [
      "a rate without a unit",
      smallest.replace("200/s", "200"),
      '5: targets.staging.rate: "200" has no unit: write 200/s, 200/min or 200/h',
    ],
    [
      "a rate that is a list",
      smallest.replace("200/s", "[]"),
      "5: targets.staging.rate: must be a rate, such as 200/s or 30/min or unlimited",
    ],
    [
      "a word for a rate",
      smallest.replace("200/s", "fast"),
      '5: targets.staging.rate: "fast" is not a rate, such as 200/s, 30/min, 10/h or unlimited',
    ],
    [
      "a path in the URL",
      smallest.replace("8082", "8082/x"),
      '4: targets.staging.url: "http://127.0.0.1:8082/x" is not an origin without a path',
    ],
    ["a queue of another kind", smallest.replace("embedded:", "redis:"), "1: queue: must be embedded:DIRECTORY"],
    [
      "the name of a target",
      smallest.replace("staging", "Bad_Name"),
      "3: targets.Bad_Name: a target's name must be 1 to 40 of a-z, 0-9 and -",
    ],
    [
      "a target with the name of the ingress queue",
      smallest.replace("staging", "ingress"),
      "2: targets: a target cannot be called ingress",
    ],
    ["a timeout", target("timeout: 10"), '6: targets.staging.timeout: "10" has no unit: write 10s or 10ms'],
    ["a time", target("maxAge: 5min"), '6: targets.staging.maxAge: "5min" is not a duration: write 5m'],
    ["a share without a unit", target("sample: 50"), '6: targets.staging.sample: "50" has no unit: write 50%'],
    ["a percentage", target("sample: 101%"), '6: targets.staging.sample: "101%" is not a percentage from 0% to 100%'],
    ["a concurrency", target("concurrency: 0"), "6: targets.staging.concurrency: must be 1 or more"],
    ["a large concurrency", target("concurrency: 10001"), "6: targets.staging.concurrency: must be 10000 or less"],
    ["a choice", target("truncated: maybe"), "6: targets.staging.truncated: must be skip or send"],
    [
      "a regular expression",
      target("when:\n  path: '('"),
      '7: targets.staging.when.path: "(" is not a regular expression',
    ],
    [
      "a regular expression that RE2 does not have",
      target("when:\n  header:\n    x-a: '(a)\\1'"),
      '8: targets.staging.when.header.x-a: "(a)\\1" is not a regular expression that can be used: it has the back-reference',
    ],
    [
      "a regular expression of a rewrite",
      target("path: { match: '[ab]*a[ab]{20}', replace: x }"),
      '6: targets.staging.path: "[ab]*a[ab]{20}" is not a regular expression that can be used: it would need too much',
    ],
    ["a method", target("when:\n  method: 3"), "7: targets.staging.when.method: must be a method or a list of methods"],
    [
      "two sticky keys",
      target("stickyBy: {header: a, cookie: b}"),
      "6: targets.staging.stickyBy: must name exactly one of header, cookie or src",
    ],
    [
      "a path rewrite",
      target("path: /v2"),
      "6: targets.staging.path: must have either the key prefix, or the keys match and replace",
    ],
    [
      "a misspelt path rewrite",
      target("path: {prefx: /v2}"),
      "6: targets.staging.path: must have either the key prefix, or the keys match and replace",
    ],
    ["a prefix", target("path:\n  prefix: v2"), "7: targets.staging.path.prefix: must begin with /"],
    [
      "the name of a header",
      target("headers:\n  set:\n    a b: c"),
      "8: targets.staging.headers.set.a b: is not a valid header name",
    ],
    [
      "a header without the client's address",
      target("headers:\n  set:\n    a: {src: false}"),
      "8: targets.staging.headers.set.a",
    ],
    [
      "a header of another part of the request",
      target("headers:\n  set:\n    a: {dst: true}"),
      "8: targets.staging.headers.set.a: must be a text without line breaks or control characters, with quotes if it is a number, { env: NAME }, or { src: true }",
    ],
    [
      "a header that spoa-relay writes itself",
      target("headers:\n  set: {Content-Length: '7'}"),
      "7: targets.staging.headers.set: cannot set Host (use the key host), nor X-Mirror-*",
    ],
    ["a timeout of 0", target("timeout: 0s"), "6: targets.staging.timeout: must be from 1ms to 15m"],
    [
      "a quoted rate without a unit",
      smallest.replace("200/s", '"100"'),
      '5: targets.staging.rate: "100" has no unit: write 100/s',
    ],
    [
      "a rate below the lowest one",
      smallest.replace("200/s", "0.001/h"),
      '5: targets.staging.rate: "0.001/h" is below 0.01/h, the lowest rate',
    ],
    ["a maximum age over a year", target("maxAge: 9999d"), "6: targets.staging.maxAge: must be from 1ms to 365d"],
    [
      "a linger time over an hour",
      `agent:\n  pack: {linger: 30d}\n${smallest}`,
      "2: agent.pack.linger: must be from 0s to 1h",
    ],
    [
      "a drain that takes longer than a stop",
      `agent:\n  drain: 9s\n${smallest}`,
      "2: agent.drain: must be from 0s to 8s",
    ],
    ["a visibility of 0", `host:\n  visibility: 0s\n${smallest}`, "2: host.visibility: must be from 1s to 12h"],
    [
      "a visibility that no queue allows",
      `host:\n  visibility: 13h\n${smallest}`,
      "2: host.visibility: must be from 1s",
    ],
    ["a host with a space", target("host: a b"), "6: targets.staging.host: must be target, original, or a host"],
    [
      "a header that smuggles another one",
      target('headers:\n  set:\n    a: "b\\r\\nc: d"'),
      "8: targets.staging.headers.set.a: must have no line breaks or control characters",
    ],
    [
      "an address",
      `agent:\n  listen: 12345\n${smallest}`,
      "2: agent.listen: must be an address, such as 127.0.0.1:12345",
    ],
    [
      "a port",
      `agent:\n  listen: 127.0.0.1:70000\n${smallest}`,
      '2: agent.listen: "127.0.0.1:70000" is not an address',
    ],
    ["a frame that HAProxy refuses", `agent:\n  maxFrame: 255B\n${smallest}`, "2: agent.maxFrame: must be from 256B"],
    ["a frame that no pack can hold", `agent:\n  maxFrame: 49MiB\n${smallest}`, "2: agent.maxFrame: must be from 256B"],
    ["a key that occurs twice", `${smallest}queue: embedded:x\n`, "6: Map keys must be unique"],
    [
      "an alias without an anchor",
      `${smallest}log: *level\n`,
      "6: *level refers to an anchor that is not defined before it",
    ],
    [
      "a window without a zone",
      target("window: 22:00-06:00"),
      '6: targets.staging.window: "22:00-06:00" has no time zone: write "22:00-06:00 Europe/Berlin" or "22:00-06:00 UTC"',
    ],
    [
      "a window of hours",
      target("window: 22-6"),
      '6: targets.staging.window: "22-6" is not a span of time, such as 22:00-06:00 Europe/Berlin',
    ],
    [
      "a window in a list",
      target('window: ["22:00-06:00 UTC", "22-6"]'),
      '6: targets.staging.window.1: "22-6" is not a span of time',
    ],
    ["an order without a key", target("order: byKey"), "6: targets.staging.order: needs a key, such as key: { cookie"],
    [
      "a key without an order",
      target("key: {src: true}"),
      "6: targets.staging.key: has no effect without order: byKey",
    ],
    [
      "HTTP/2 over TLS for http:",
      target("protocol: h2"),
      "6: targets.staging.protocol: h2 needs an https: url; use h2c",
    ],
    ["a choice in TLS for http:", target("protocol: auto"), "6: targets.staging.protocol: auto needs an https: url"],
    ["an unknown protocol", target("protocol: http3"), "6: targets.staging.protocol: "],
    [
      "a breaker that never probes",
      target("breaker: {probeAfter: 1h}"),
      "6: targets.staging.breaker.probeAfter: must be from 100ms to 30s",
    ],
    [
      "a control API that other machines reach without a token",
      `host:\n  admin: 0.0.0.0:12347\n${smallest}`,
      "2: host.admin: 0.0.0.0 can be reached from other machines: set host.token",
    ],
    [
      "two tokens of the control API",
      `host: {token: 0123456789abcdef, tokenFile: ./token}\n${smallest}`,
      "1: host.tokenFile: is in place of token: remove one of them",
    ],
    [
      "a token for a unix socket in a file",
      `host: {admin: "unix:/run/x.sock", tokenFile: ./token}\n${smallest}`,
      "1: host.tokenFile: is for a TCP address; the permissions of a unix socket decide who may connect: remove it",
    ],
    [
      "a token that can be guessed",
      `host:\n  token: secret\n${smallest}`,
      "2: host.token: must be at least 16 printable characters",
    ],
    ["state in AWS with an embedded queue", `state: dynamodb:table\n${smallest}`, "1: state: is for a queue in SQS"],
    [
      "a state of another kind",
      `state: redis:x\n${smallest}`,
      "1: state: must be dynamodb:TABLE, dynamodb:REGION/TABLE or dynamodb:ARN",
    ],
    [
      "an index in place of a table",
      `state: dynamodb:arn:aws:dynamodb:eu-west-1:123456789012:table/t/index/i\n${smallest}`,
      "1: state: must be dynamodb:TABLE, dynamodb:REGION/TABLE or dynamodb:ARN",
    ],
    [
      "neither targets nor captures",
      "queue: embedded:.\n",
      "1: targets: needs at least one target, as NAME: {url: …, rate: …}",
    ],
    [
      "a key that is not a KMS key",
      `aws:\n  key: alias/x\n${smallest}`,
      "2: aws.key: must be own, or the ARN of a KMS key",
    ],
    [
      "an agent that is not a principal",
      `aws:\n  agents: ["*"]\n${smallest}`,
      "2: aws.agents.0: must be the ARN of a role, a user or an account (…:root)",
    ],
    [
      "a retention time that CloudWatch does not offer",
      `aws:\n  logs: 31d\n${smallest}`,
      "2: aws.logs: must be a retention time of CloudWatch: 1d, 3d, 5d,",
    ],
    [
      "a cost without a currency",
      `aws:\n  alarms:\n    dailyCost: 5\n${smallest}`,
      "3: aws.alarms.dailyCost: must be an amount",
    ],
    [
      "a secret in plain text",
      `aws:\n  secrets: {KEY: "my secret!"}\n${smallest}`,
      "2: aws.secrets.KEY: must be the name or ARN of a secret, with #FIELD if the secret is JSON",
    ],
    [
      "a secret under a name that Lambda reserves",
      `aws:\n  secrets: {AWS_SESSION_TOKEN: shop}\n${smallest}`,
      "2: aws.secrets.AWS_SESSION_TOKEN: cannot be an environment variable of a Lambda function",
    ],
    [
      "a subnet",
      target("vpc: {subnets: [a], securityGroups: [sg-0a1b2c3d]}"),
      "6: targets.staging.vpc.subnets.0: must be",
    ],
    ["a policy", target("policies: [admin]"), "6: targets.staging.policies.0: must be the ARN of a managed policy"],
    [
      "a target's queue without state in DynamoDB",
      target("queue: https://sqs.eu-west-1.amazonaws.com/123456789012/q"),
      "6: targets.staging.queue: is for state in DynamoDB",
    ],
    ["a list instead of a map", "- a\n", "1: must be keys and values, as KEY: VALUE"],
  ])("names file, line and key: %s", (_, text, expected) => {
    expect(mistakes(text)).toHaveLength(1);
    expect(mistakes(text)[0]).toMatch(/^spoa-relay\.yaml:/);
    expect(mistakes(text)[0].slice("spoa-relay.yaml:".length)).toContain(expected);
    expect(mistakes(text)[0].slice("spoa-relay.yaml:".length).startsWith(expected.slice(0, 12))).toBe(true);
  });

  it("is reported together with all others", () => {
    expect(mistakes("agent: {listen: 1, sample: 2}\nqueue: 3\n").map((line) => line.split(" ")[1])).toEqual([
      "agent.listen:",
      "agent.sample:",
      "queue:",
    ]);
  });

  it.each([
    [
      "at the top",
      `${smallest}target: {}\n`,
      /^spoa-relay\.yaml:6: unknown key target; allowed here: agent, host, queue, state, loopKey, loopHeader, control, targets, captures, log, aws$/,
    ],
    [
      "in a target",
      `${smallest}    rat: 1/s\n`,
      /^spoa-relay\.yaml:6: targets\.staging: unknown key rat; allowed here: url, protocol, rate, sample, /,
    ],
    [
      "in a section",
      `agent:\n  pack:\n    byte: 1B\n${smallest}`,
      /^spoa-relay\.yaml:3: agent\.pack: unknown key byte; allowed here: bytes, requests, linger$/,
    ],
  ])("lists the allowed keys if one is unknown %s", (_, text, expected) => {
    expect(mistakes(text)).toEqual([expect.stringMatching(expected)]);
  });

  it.each(["[", "- ", "? ", "{a: "])("is a file with %j a hundred thousand times", (level) => {
    expect(mistakes(level.repeat(100_000))[0]).toBe("spoa-relay.yaml:1: keys or lists are nested too deeply");
  });

  it.each([800, 1_300, 1_700, 2_000, 2_500, 3_000, 4_000, 6_000])(
    "is a file with lists in lists, %d levels deep",
    (levels) => {
      expect(mistakes(`a: ${"[".repeat(levels)}${"]".repeat(levels)}`).join("\n")).not.toContain("call stack");
    },
  );

  it("is found in time that grows with the number of aliases", () => {
    const cpuMsOf = (aliases: number) => {
      const start = process.threadCpuUsage();
      mistakes(`a: &a x\nb: [${"*a,".repeat(aliases)}]\n`);
      return process.threadCpuUsage(start).user / 1_000;
    };
    cpuMsOf(1_000);

    expect(cpuMsOf(16_000)).toBeLessThan(40 * cpuMsOf(1_000));
  });

  it("is a file whose aliases multiply without end", () => {
    const levels = Array.from({ length: 20 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(20).fill(`*a${i}`).join()}]`);

    expect(mistakes(`a0: &a0 x\n${levels.join("\n")}\n`)).toEqual([
      expect.stringMatching(/^spoa-relay\.yaml:1: .*alias/),
    ]);
  });
});

describe("a certificate authority", () => {
  const withCa = (ca: string) => load(`${smallest}    tls:\n      ca: ${ca}\n`);

  it("is a PEM file", () => {
    expect(mistakesOf(() => assertReplayable(withCa(caFile)))).toEqual([]);
  });

  it("that is missing is named with its line, but only by a process that replays", () => {
    const config = withCa("nowhere.pem");

    expect(mistakesOf(() => assertReplayable(config))).toEqual([
      "spoa-relay.yaml:7: targets.staging.tls.ca: nowhere.pem cannot be read: there is no such file",
    ]);
  });

  it.each([
    ["no PEM", "certificate", "spoa-relay.yaml:7: targets.staging.tls.ca: ca.pem is not a PEM file with a certificate"],
    [
      "no certificate inside",
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
      "spoa-relay.yaml:7: targets.staging.tls.ca: ca.pem has a certificate that cannot be decoded",
    ],
  ])("is refused if it has %s", (_, pem, expected) => {
    writeFileSync(join(directory, "ca.pem"), pem);

    expect(mistakesOf(() => assertReplayable(withCa("ca.pem")))).toEqual([expected]);
  });
});

describe("an environment variable", () => {
  it(`replaces \${NAME}, also within a text and more than once`, () => {
    const text = smallest.replace("127.0.0.1:8082", `\${HOST}:\${PORT}`).replace("./data", `\${DIR:-./data}`);

    const config = load(text, { HOST: "shadow.example", PORT: "81", DIR: "/srv" });

    expect(config.targets[0].url.href).toBe("http://shadow.example:81/");
    expect(config.queueDirectory).toBe("/srv");
  });

  it("may have a default, also an empty one", () => {
    const config = load(`${smallest}    host: a\${A:-}b\${B:-c}\n`);

    expect(config.targets[0].host).toBe("abc");
  });

  it("is a number or a boolean if it is written without quotes", () => {
    const text = `${smallest}    concurrency: \${N}\n    attempts: \${M:-7}\n    tls:\n      verify: \${V}\n    host: "\${N}"\n`;

    const [target] = load(text, { N: "5", V: "false" }).targets;

    expect(target).toMatchObject({ concurrency: 5, attempts: 7, tls: { verify: false }, host: "5" });
  });

  it("cannot add keys", () => {
    const config = load(`${smallest}    tls:\n      serverName: \${H}\n`, { H: "a\n    rate: unlimited" });

    expect(config.targets[0]).toMatchObject({ tls: { serverName: "a\n    rate: unlimited" }, ratePerSecond: 200 });
  });

  it("that is missing is named with its line", () => {
    expect(mistakes(smallest.replace("200/s", `\${RATE}`))).toEqual([
      `spoa-relay.yaml:5: the environment variable RATE is not set (\${RATE:-default} gives a default)`,
    ]);
  });
});

describe("configJsonSchema", () => {
  const schema = configJsonSchema() as object;

  it.each([
    ["the smallest file", smallest],
    ["the example", example],
  ])("accepts %s", (_, text) => {
    expect(schemaMistakes(schema, parse(text))).toEqual([]);
    expect(mistakes(text)).toEqual([]);
  });

  it.each([
    ["at the top", `${smallest}tragets: {}\n`],
    ["in a target", `${smallest}    timout: 1s\n`],
    ["in a section", `agent: {lisen: "127.0.0.1:1"}\n${smallest}`],
    ["missing", smallest.replace("    url: http://127.0.0.1:8082\n", "")],
  ])("rejects the keys that loadConfig rejects: %s", (_, text) => {
    expect(schemaMistakes(schema, parse(text))).toHaveLength(1);
    expect(mistakes(text)).toHaveLength(1);
  });

  it("says nothing about the machine that printed it", () => {
    expect(schema).not.toHaveProperty("properties.agent.properties.name.default");
  });
});
