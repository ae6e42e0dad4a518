import { describe, expect, it } from "vitest";
import { findQueueUrlMistake, inRegion, isPrivate, regionOf } from "../../../relay/queue/sqs-url.ts";

describe("regionOf", () => {
  it.each([
    ["https://sqs.eu-central-1.amazonaws.com/123456789012/packs", "eu-central-1"],
    ["https://sqs.us-gov-west-1.amazonaws.com/123456789012/packs", "us-gov-west-1"],
    ["https://sqs.cn-north-1.amazonaws.com.cn/123456789012/packs", "cn-north-1"],
    ["https://sqs-fips.us-east-2.amazonaws.com/123456789012/packs", "us-east-2"],
    ["https://sqs.ap-southeast-2.api.aws/123456789012/packs", "ap-southeast-2"],
    ["https://sqs-fips.us-west-2.api.aws/123456789012/packs", "us-west-2"],
    ["https://sqs.cn-northwest-1.api.amazonwebservices.com.cn/123456789012/packs", "cn-northwest-1"],
    ["https://vpce-0a1b-2c3d.sqs.eu-west-1.vpce.amazonaws.com/123456789012/packs", "eu-west-1"],
    ["https://vpce-0a1b-2c3d-eu-west-3a.sqs.eu-west-3.vpce.amazonaws.com/123456789012/packs", "eu-west-3"],
    ["https://ca-central-1.queue.amazonaws.com/123456789012/packs", "ca-central-1"],
    ["https://queue.amazonaws.com/123456789012/packs", "us-east-1"],
    ["http://sqs.eu-west-2.localhost.localstack.cloud:4566/000000000000/packs", "eu-west-2"],
    ["http://127.0.0.1:4566/000000000000/packs", "us-east-1"],
  ])("finds in %s the region %s", (url, region) => {
    expect(regionOf(new URL(url))).toBe(region);
    expect(findQueueUrlMistake(new URL(url))).toBeUndefined();
  });
});

describe("inRegion", () => {
  it.each([
    ["https://sqs.eu-central-1.amazonaws.com/1/q", "us-west-2", "https://sqs.us-west-2.amazonaws.com/1/q"],
    ["https://eu-central-1.queue.amazonaws.com/1/q", "us-west-2", "https://sqs.us-west-2.amazonaws.com/1/q"],
    ["https://queue.amazonaws.com/1/q", "us-west-2", "https://sqs.us-west-2.amazonaws.com/1/q"],
    ["https://vpce-1.sqs.eu-central-1.vpce.amazonaws.com/1/q", "us-west-2", "https://sqs.us-west-2.amazonaws.com/1/q"],
    [
      "https://sqs.cn-north-1.amazonaws.com.cn/1/q",
      "cn-northwest-1",
      "https://sqs.cn-northwest-1.amazonaws.com.cn/1/q",
    ],
    ["http://sqs.eu-central-1.localhost:4566/1/q", "us-west-2", "http://sqs.us-west-2.localhost:4566/1/q"],
  ])("moves %s to %s", (url, region, moved) => {
    expect(inRegion(new URL(url), region).href).toBe(moved);
  });

  it.each([
    ["that is already in the region, even with a FIPS endpoint", "https://sqs-fips.us-west-2.amazonaws.com/1/q"],
    ["of an emulator without regions", "http://127.0.0.1:4566/000000000000/q"],
  ])("keeps the URL of a queue %s", (_, url) => {
    expect(inRegion(new URL(url), "us-west-2").href).toBe(url);
  });
});

describe("findQueueUrlMistake", () => {
  it.each([
    ["https://sqs.eu-central-1.amazonaws.com/123456789012/packs.fifo", /^must be a standard queue/],
    ["https://sqs.eu-central-1.amazonaws.com/packs", /ACCOUNT\/NAME/],
    ["https://sqs.eu-central-1.amazonaws.com/1234/packs", /ACCOUNT\/NAME/],
    ["https://sqs.eu-central-1.amazonaws.com/123456789012/packs/", /ACCOUNT\/NAME/],
    ["https://sqs.eu-central-1.amazonaws.com/123456789012/packs?x=1", /ACCOUNT\/NAME/],
    ["http://127.0.0.1:4566/", /ACCOUNT\/NAME/],
    ["https://sqs.amazonaws.com/123456789012/packs", /^must name its region/],
    ["https://key:secret@sqs.eu-central-1.amazonaws.com/123456789012/packs", /^must not contain credentials/],
  ])("finds the mistake in %s", (url, mistake) => {
    expect(findQueueUrlMistake(new URL(url))).toMatch(mistake);
  });
});

describe("isPrivate", () => {
  it.each([
    ["https://sqs.eu-central-1.amazonaws.com/123456789012/packs", true],
    ["http://127.0.0.1:4566/000000000000/packs", true],
    ["http://[::1]:4566/000000000000/packs", true],
    ["http://sqs.us-east-1.localhost:4566/000000000000/packs", true],
    ["http://localstack:4566/000000000000/packs", false],
    ["http://sqs.eu-central-1.amazonaws.com/123456789012/packs", false],
    ["http://127.example/000000000000/packs", false],
  ])("is for %s %s", (url, expected) => {
    expect(isPrivate(new URL(url))).toBe(expected);
  });
});
