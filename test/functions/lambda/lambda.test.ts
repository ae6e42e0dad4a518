import { dirname } from "node:path";
import { Hono } from "hono";
import type { DestinationStream } from "pino";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { Invocation } from "../../../functions/batch.ts";
import { createBatchApp } from "../../../functions/batch.ts";
import { openFanOut } from "../../../functions/lambda/fanout.ts";
import { type LambdaContext, toLambdaHandler } from "../../../functions/lambda/lambda.ts";
import { openReplay } from "../../../functions/lambda/replay.ts";
import { openSchedule } from "../../../functions/lambda/schedule.ts";
import { createLogger } from "../../../relay/log/log.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { delivery, packMessage } from "../../support/data/packs.ts";
import { replayArn } from "../../support/lambda/lambda-api.ts";
import { configFile } from "../../support/lambda/lambda-config.ts";
import { toLambdaEvent } from "../../support/lambda/lambda-mapping.ts";

const minute: LambdaContext = { getRemainingTimeInMillis: () => 60_000 };

describe("toLambdaHandler: an SQS batch", () => {
  it("is answered with the messages that failed", async () => {
    const { log } = new LogLines();
    const app = createBatchApp(log, async ({ messageId }) => (messageId === "m2" ? "again" : "done"));
    const handler = toLambdaHandler(app, { log });

    expect(await handler(batch("m1", "m2", "m3"), minute)).toEqual({ batchItemFailures: [{ itemIdentifier: "m2" }] });
  });

  it("shows failed messages again after 5 s, doubled with each receive up to 5 min", async () => {
    const { log, lines } = new LogLines();
    const extended: string[] = [];
    const extend = async (receipt: string, visibilityMs: number) => {
      extended.push(`${receipt} ${visibilityMs}`);
      if (receipt === "second") throw new Error("away");
    };
    const app = createBatchApp(log, async ({ messageId }) => (messageId === "done" ? "done" : "again"));
    const records = Object.entries({ done: 1, first: 1, second: 2, many: 40 }).map(([name, receiveCount]) =>
      delivery(packMessage(), { messageId: name, receipt: name, receiveCount }),
    );

    const answer = await toLambdaHandler(app, { log, queue: { extend } })(toLambdaEvent(records), minute);

    expect(extended).toEqual(["first 5000", "second 10000", "many 300000"]);
    expect(answer).toMatchObject({ batchItemFailures: [{}, {}, {}] });
    expect(lines).toMatchObject([{ level: "warn", event: "extend-failed", reason: "away" }]);
  });

  it("fails as a whole if the app does not answer with 200", async () => {
    const { log } = new LogLines();
    const app = new Hono().post("/", (context) => context.text("broken", 500));

    await expect(toLambdaHandler(app, { log })(batch("m1"), minute)).rejects.toMatchObject({
      name: "LambdaError",
      code: "NOT_DONE",
      message: "the function answered 500: broken",
    });
  });

  it("is invoked without patience: waiting for a held target would be billed", async () => {
    expect(await invocationOf(batch("m1"))).toMatchObject({ patient: false });
  });
});

describe("toLambdaHandler: a schedule", () => {
  it.each([
    ["EventBridge", { source: "aws.events", "detail-type": "Scheduled Event", detail: {} }],
    ["EventBridge Scheduler", { source: "aws.scheduler", "detail-type": "Scheduled Event", detail: "{}" }],
  ])("of %s is posted to the app, and returns nothing", async (_, event) => {
    const received: unknown[] = [];
    const app = new Hono().post("/", async (context) => {
      received.push(await context.req.json());
      return context.json({});
    });

    expect(await toLambdaHandler(app, new LogLines())(event, minute)).toBeUndefined();
    expect(received).toEqual([event]);
  });

  it("fails if the app does", async () => {
    const app = new Hono().post("/", (context) => context.text("failed: a", 500));

    await expect(toLambdaHandler(app, new LogLines())({ source: "aws.events" }, minute)).rejects.toThrow("failed: a");
  });
});

describe("toLambdaHandler: a request to a function URL", () => {
  it("is passed to the app, and returns the app's answer", async () => {
    const app = new Hono().put("/targets/:name", async ({ req, json }) =>
      json(
        { name: req.param("name"), dry: req.query("dry"), agent: req.header("user-agent"), sent: await req.json() },
        202,
      ),
    );
    const event = functionUrl("PUT", "/targets/staging", "dry=1", '{"paused":true}');

    expect(await toLambdaHandler(app, new LogLines())(event, minute)).toMatchObject({
      statusCode: 202,
      isBase64Encoded: false,
      headers: { "content-type": "application/json" },
      body: '{"name":"staging","dry":"1","agent":"test","sent":{"paused":true}}',
    });
  });

  it("returns an error status without failing the invocation", async () => {
    const app = new Hono().get("/", (context) => context.text("not now", 503));

    expect(await toLambdaHandler(app, new LogLines())(functionUrl("GET", "/"), minute)).toMatchObject({
      statusCode: 503,
      body: "not now",
    });
  });

  it("passes a signal to the app", async () => {
    expect((await invocationOf(functionUrl("GET", "/"))).signal).toBeInstanceOf(AbortSignal);
  });
});

describe("toLambdaHandler: a request that IAM has not checked", () => {
  it("does not reach the app", async () => {
    let asked = 0;
    const app = new Hono().all("*", (context) => {
      asked++;
      return context.text("open");
    });
    const event = functionUrl("GET", "/") as { readonly requestContext: { readonly http: unknown } };
    const { http } = event.requestContext;

    expect(await toLambdaHandler(app, new LogLines())({ ...event, requestContext: { http } }, minute)).toMatchObject({
      statusCode: 403,
      body: expect.stringContaining("AWS_IAM"),
    });
    expect(asked).toBe(0);
  });
});

describe("toLambdaHandler: any other event", () => {
  it.each([
    ["of another service", { Records: [{ eventSource: "aws:s3" }] }, "Records"],
    ["of SNS", { Records: [{ EventSource: "aws:sns" }] }, "Records"],
    [
      "of another bus",
      { source: "my.app", "detail-type": "Order", detail: { secret: 1 } },
      "source, detail-type, detail",
    ],
    ["of an API with payload 1.0", { httpMethod: "GET", requestContext: {} }, "httpMethod, requestContext"],
    ["without anything", {}, ""],
    ["that is null", null, "object"],
    ["that is a text", "secret", "string"],
  ])("%s is refused with an error that names its keys, but not its values", async (_, event, keys) => {
    await expect(toLambdaHandler(new Hono(), new LogLines())(event, minute)).rejects.toMatchObject({
      code: "UNKNOWN_EVENT",
      message: `unknown event: expected one from SQS, a schedule or a function URL; got: ${keys}`,
    });
  });
});

describe("toLambdaHandler: the end of the invocation's time", () => {
  it.each([
    ["3 s before the end", 100_000, undefined, 97_000],
    ["earlier by the time that an answer may take", 100_000, 10_000, 87_000],
    ["not before half of the time has passed", 20_000, 15_000, 10_000],
  ])("aborts the signal %s", async (_, remainingMs, answerWithinMs, expectedMs) => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    let raised = false;
    const app = new Hono<{ Bindings: Invocation }>().post("/", async (context) => {
      await new Promise((resolve) => context.env.signal?.addEventListener("abort", resolve));
      raised = true;
      return context.json({});
    });
    const { log } = new LogLines();
    const handler = toLambdaHandler(app, { log, ...(answerWithinMs !== undefined && { answerWithinMs }) });
    const done = handler(batch("m1"), { getRemainingTimeInMillis: () => remainingMs });

    await vi.advanceTimersByTimeAsync(expectedMs - 1);
    const early = raised;
    await vi.advanceTimersByTimeAsync(1);
    await done;

    expect([early, raised]).toEqual([false, true]);
  });

  it("logs a warning once a minute if the time is too short", async () => {
    const { log, lines } = new LogLines();
    const app = new Hono().post("/", (context) => context.json({}));
    const handler = toLambdaHandler(app, { log, answerWithinMs: 10_000 });

    await handler(batch("m1"), minute);
    expect(lines).toEqual([]);
    for (let i = 0; i < 3; i++) await handler(batch("m1"), { getRemainingTimeInMillis: () => 25_900 });

    expect(lines).toMatchObject([{ level: "warn", event: "short-time", timeoutMs: 25_900, neededMs: 26_000 }]);
  });

  it("returns only after the log lines are written", async () => {
    const written: string[] = [];
    const log = createLogger("info", {
      write: (line: string) => written.push(`line ${JSON.parse(line).msg}`),
      flush: (done: () => void) => {
        written.push("flushed");
        setImmediate(done);
      },
    } as DestinationStream);
    const app = new Hono().post("/", (context) => {
      log.info("here");
      return context.json({});
    });

    await toLambdaHandler(app, { log })(batch("m1"), minute);

    expect(written).toEqual(["line here", "flushed"]);
  });
});

describe("a function in Lambda", () => {
  const queue = "queue: http://127.0.0.1:9/000000000000/packs";
  const targets =
    'targets: { a: { url: "http://127.0.0.1:9", rate: 1/s }, b: { url: "http://127.0.0.1:9", rate: 1/s } }';

  it.each([
    ["fan-out", openFanOut],
    ["replay", openReplay],
    ["schedule", openSchedule],
  ])("does not start unless its state is in DynamoDB: %s", async (_, open) => {
    const file = configFile(queue, targets);

    await expect(open({ RELAY_CONFIG: file })).rejects.toMatchObject({
      name: "ConfigError",
      message: `${file}: state: is missing; functions in Lambda need one that they share, as in state: dynamodb:TABLE`,
    });
  });

  it("reads its configuration from the directory of the deployment", async () => {
    const directory = dirname(configFile(queue, targets));

    await expect(openFanOut({ LAMBDA_TASK_ROOT: directory })).rejects.toThrow(`${directory}/spoa-relay.yaml: state:`);
    await expect(openFanOut({ LAMBDA_TASK_ROOT: "/nowhere" })).rejects.toThrow(
      "/nowhere/spoa-relay.yaml: cannot be read",
    );
  });

  it.each([
    [undefined, "RELAY_TARGET: must name a target; the configuration has: a, b"],
    ["c", "RELAY_TARGET: there is no target c; the configuration has: a, b"],
  ])("refuses to replay the target %s", async (name, message) => {
    const file = configFile(queue, "state: dynamodb:relay", targets);

    await expect(openReplay({ RELAY_CONFIG: file, RELAY_TARGET: name })).rejects.toThrow(message);
  });

  it("refuses a target whose certificate authority cannot be used", async () => {
    const secured = 'targets: { a: { url: "https://127.0.0.1:9", rate: 1/s, tls: { ca: ./missing.pem } } }';
    const file = configFile(queue, "state: dynamodb:relay", secured);

    await expect(openReplay({ RELAY_CONFIG: file, RELAY_TARGET: "a" })).rejects.toThrow(
      /targets.a.tls.ca: .\/missing.pem cannot be read/,
    );
  });

  it.each([
    [JSON.stringify({ c: replayArn("c") }), "RELAY_MAPPINGS: there is no target c; the configuration has: a, b"],
    ["14e0db71", "RELAY_MAPPINGS: must be a JSON object with the ARN of the replay function for each target name"],
    ['{"a":"packs-replay-a"}', "RELAY_MAPPINGS: must be a JSON object"],
    ['{"a":1}', "RELAY_MAPPINGS: must be a JSON object"],
    ["{", "RELAY_MAPPINGS: must be a JSON object"],
  ])("refuses the mappings %s", async (mappings, message) => {
    const file = configFile(queue, "state: dynamodb:relay", targets);

    await expect(openSchedule({ RELAY_CONFIG: file, RELAY_MAPPINGS: mappings })).rejects.toThrow(message);
  });
});

/** A batch as Lambda delivers it. */
function batch(...messageIds: readonly string[]): unknown {
  return toLambdaEvent(messageIds.map((messageId) => delivery(packMessage(), { messageId })));
}

/** A request to a function URL, payload 2.0. */
function functionUrl(method: string, path: string, query = "", body?: string): unknown {
  return {
    version: "2.0",
    routeKey: "$default",
    rawPath: path,
    rawQueryString: query,
    headers: { "user-agent": "test", "content-type": "application/json" },
    requestContext: {
      authorizer: { iam: { accountId: "123456789012" } },
      http: { method, path, protocol: "HTTP/1.1", sourceIp: "192.0.2.1", userAgent: "test" },
    },
    ...(body !== undefined && { body: Buffer.from(body).toString("base64") }),
    isBase64Encoded: body !== undefined,
  };
}

/** The bindings that an app receives with an event. */
async function invocationOf(event: unknown): Promise<Invocation> {
  let given: Invocation = {};
  const app = new Hono<{ Bindings: Invocation }>().all("/", (context) => {
    given = context.env;
    return context.json({});
  });
  await toLambdaHandler(app, new LogLines())(event, minute);
  return given;
}
