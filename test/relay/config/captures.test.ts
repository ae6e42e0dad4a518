import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Config } from "../../../relay/config/config.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import { Pattern } from "../../../relay/rules/pattern.ts";
import { configFile } from "../../support/lambda/lambda-config.ts";

const target = 'staging: {url: "http://127.0.0.1:8082", rate: unlimited}';
const sqs = "https://sqs.eu-central-1.amazonaws.com/123456789012/relay";
const aws = [`queue: ${sqs}`, "state: dynamodb:relay"];

describe("captures", () => {
  it("are empty if the file has none", () => {
    expect(load().captures).toEqual([]);
  });

  it("keep everything for a week by default, in a directory relative to the file", () => {
    const { captures, file } = load("all: {store: ./kept}");

    expect(captures).toEqual([
      {
        name: "all",
        store: { kind: "directory", directory: join(dirname(file), "kept") },
        sample: { fraction: 1 },
        keepMs: 7 * 86_400_000,
      },
    ]);
  });

  it("have conditions and samples like targets", () => {
    const keys = "sample: 10%, stickyBy: {cookie: sid}, when: {method: POST, path: ^/api}, keep: 90d";
    const [capture] = load(`all: {store: /kept, ${keys}}`).captures;

    expect(capture).toEqual({
      name: "all",
      store: { kind: "directory", directory: "/kept" },
      sample: { fraction: 0.1, stickyBy: { by: "cookie", name: "sid", missing: "out" } },
      when: { methods: ["POST"], path: new Pattern("^/api") },
      keepMs: 90 * 86_400_000,
    });
  });

  it.each([
    ["the region of the queue", 's3://our-bucket/shop/"', sqs, { region: "eu-central-1" }],
    ["a region of its own", 's3://our-bucket/shop", region: us-west-2', sqs, { region: "us-west-2" }],
    ["no region, so that the SDK finds one", 's3://our-bucket/shop"', "embedded:./data", { region: undefined }],
  ])("in S3 have %s", (_, keys, queue, expected) => {
    const [{ store }] = load(`all: {store: "${keys}}`, [`queue: ${queue}`]).captures;

    expect(store).toEqual({ kind: "s3", bucket: "our-bucket", prefix: "shop", ...expected });
  });

  it("in S3 use the endpoint that the environment names", () => {
    const env = { AWS_ENDPOINT_URL_S3: "http://localhost:4566" };
    const [{ store }] = load("all: {store: s3://our-bucket}", undefined, env).captures;

    expect(store).toEqual({ kind: "s3", bucket: "our-bucket", prefix: "", endpoint: "http://localhost:4566" });
  });

  it("make the only target read a queue of its own, since the fan-out writes captures", () => {
    expect(load(undefined, aws).aws?.targetQueues.size).toBe(0);
    expect(load("all: {store: s3://our-bucket}", aws).aws?.targetQueues).toEqual(
      new Map([["staging", `${sqs}-staging`]]),
    );
  });

  it("warn of a sample of 0%", () => {
    expect(load("all: {store: ./kept, sample: 0%}").warnings).toEqual([
      "captures.all.sample is 0%: this capture keeps no requests",
    ]);
  });

  it.each([
    ["an unknown key", "all: {store: ./kept, rate: 1/s}", "captures.all: unknown key rate; allowed here: store"],
    ["no store", "all: {}", "captures.all.store: is missing; it must be s3://BUCKET/PREFIX or a directory"],
    ["a store of another kind", "all: {store: gs://kept}", 'captures.all.store: "gs://kept" is not s3://BUCKET/PREFIX'],
    ["an invalid name of a bucket", "all: {store: s3://Kept}", 'captures.all.store: "s3://Kept" is not s3://BUCKET'],
    ["a prefix that leads up", "all: {store: s3://kept/../a}", 'captures.all.store: "s3://kept/../a" is not s3://'],
    ["a prefix with an empty part", "all: {store: s3://kept/a//b}", 'captures.all.store: "s3://kept/a//b" is not s3:'],
    ["the region of a directory", "all: {store: ./kept, region: us-west-2}", "captures.all.region: is for a bucket"],
    [
      "a time to keep of less than an hour",
      "all: {store: ./kept, keep: 1m}",
      "captures.all.keep: must be from 1h to 3650d",
    ],
    [
      "a name with other letters",
      "All: {store: ./kept}",
      "captures.All: a capture's name must be 1 to 40 of a-z, 0-9 and -",
    ],
    ["the name of the queue", "ingress: {store: ./kept}", "captures: a capture cannot be called ingress"],
    ["the name of a target", "staging: {store: ./kept}", "captures.staging: is also the name of a target"],
  ])("do not allow %s", (_, capture, mistake) => {
    expect(() => load(capture)).toThrow(mistake);
  });

  it("must be in S3 if state is in DynamoDB", () => {
    expect(() => load("all: {store: ./kept}", aws)).toThrow(
      "captures.all.store: must be s3://BUCKET/PREFIX if state is in",
    );
  });
});

function load(
  capture?: string,
  place: readonly string[] = ["queue: embedded:./data"],
  env: Readonly<Record<string, string>> = {},
): Config {
  const captures = capture === undefined ? [] : ["captures:", `  ${capture}`];
  return loadConfig(configFile(...place, "targets:", `  ${target}`, ...captures), env);
}
