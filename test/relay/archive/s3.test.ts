import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type FauxqsServer, startFauxqs } from "fauxqs";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { maxObjectBytes } from "../../../relay/archive/port.ts";
import { S3Archive, type S3Place } from "../../../relay/archive/s3.ts";
import { describeArchive, namesOf } from "../../contract/archive-contract.ts";

let emulator: FauxqsServer;
let buckets = 0;

beforeAll(async () => {
  emulator = await startFauxqs({ port: 0, logger: false });
});

afterAll(async () => {
  await emulator.stop();
});

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
  vi.stubEnv("AWS_REGION", "eu-central-1");
});

const limits = { overwrites: "fauxqs 2.4.1 ignores If-None-Match, unlike S3" };
describeArchive("S3Archive", async () => S3Archive.open(newPlace()), limits);
describeArchive("S3Archive in a folder of a bucket", async () => S3Archive.open(newPlace("captures/of-us")), limits);

describe("S3Archive", () => {
  it("does not list other objects of the bucket", async () => {
    const place = newPlace();
    await S3Archive.open({ ...place, prefix: "ours" }).put("a", Uint8Array.of(1));
    await S3Archive.open({ ...place, prefix: "ours-too/" }).put("b", Uint8Array.of(1));

    expect(await namesOf(S3Archive.open({ ...place, prefix: "ours" }))).toEqual(["a"]);
    expect(await namesOf(S3Archive.open(place))).toEqual(["ours-too/b", "ours/a"]);
  });

  it("uses the endpoint in AWS_ENDPOINT_URL_S3", async () => {
    const { endpoint, bucket } = newPlace();
    vi.stubEnv("AWS_ENDPOINT_URL_S3", endpoint);
    const archive = S3Archive.open({ bucket });

    await archive.put("a", Uint8Array.of(7));

    expect(Buffer.from((await archive.get("a")) as Uint8Array)).toEqual(Buffer.of(7));
  });

  it("asks S3 not to overwrite objects, and names the bucket in the path", async () => {
    const { archive, requests } = await openAt((_, response) => response.writeHead(200).end());

    await archive.put("a/b", Uint8Array.of(1));

    expect(requests.map(({ method, url }) => `${method} ${url}`)).toEqual(["PUT /packs/a/b?x-id=PutObject"]);
    expect(requests[0].headers["if-none-match"]).toBe("*");
  });

  it.each([
    ["the same bytes", Uint8Array.of(1), undefined],
    ["other bytes", Uint8Array.of(2), "CONFLICT"],
  ])("compares an existing object: %s", async (_, existing, code) => {
    const { archive } = await openAt(({ method }, response) => {
      if (method === "PUT") return refuse(response, 412, "PreconditionFailed");
      response.writeHead(200, { "content-length": existing.length }).end(existing);
    });

    const error = await archive.put("a", Uint8Array.of(1)).catch((thrown) => thrown);

    expect(error?.code).toBe(code);
  });

  it("does not report an object as stored while another put of it is in progress", async () => {
    const { archive } = await openAt(({ method }, response) => {
      if (method === "PUT") return refuse(response, 409, "ConditionalRequestConflict");
      refuse(response, 404, "NoSuchKey");
    });

    await expect(archive.put("a", Uint8Array.of(1))).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("does not read an object that is too big", async () => {
    const { archive } = await openAt((_, response) => {
      response.writeHead(200, { "content-length": maxObjectBytes + 1 }).write("x");
    });

    await expect(archive.get("a")).rejects.toMatchObject({ code: "TOO_BIG" });
  });

  it("fails after the call timeout if the bytes of an object stop half way", async () => {
    const answer = (_: IncomingMessage, response: ServerResponse) => {
      response.writeHead(200, { "content-length": 10 }).write("x");
    };
    const { archive } = await openAt(answer, { callTimeoutMs: 300 });

    await expect(archive.get("a")).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("no answer within 300 ms"),
    });
  });

  it("fails if S3 did not delete an object", async () => {
    const { archive } = await openAt((_, response) => {
      const entry = "<Error><Key>a</Key><Code>AccessDenied</Code><Message>no</Message></Error>";
      response.writeHead(200).end(`<DeleteResult>${entry}</DeleteResult>`);
    });

    await expect(archive.delete(["a"])).rejects.toMatchObject({
      code: "DENIED",
      message: expect.stringContaining("these AWS credentials are not allowed to call s3:DeleteObject on bucket packs"),
    });
  });

  it.each([
    [403, "AccessDenied", "DENIED", "are not allowed to call s3:PutObject on bucket packs: allow it in their policy"],
    [403, "InvalidAccessKeyId", "DENIED", "AWS does not know these credentials"],
    [403, "SignatureDoesNotMatch", "DENIED", "check AWS_SECRET_ACCESS_KEY"],
    [400, "KMS.DisabledException", "DENIED", "the KMS key of bucket packs cannot be used"],
    [404, "NoSuchBucket", "UNAVAILABLE", "there is no bucket packs: create it"],
    [301, "PermanentRedirect", "UNAVAILABLE", "bucket packs is in another region"],
    [503, "SlowDown", "UNAVAILABLE", "S3 throttles bucket packs"],
    [400, "EntityTooLarge", "TOO_BIG", "S3 does not accept an object of this size"],
    [500, "InternalError", "UNAVAILABLE", "s3:PutObject on bucket packs failed"],
  ])("says what to do about %d %s", async (status, reason, code, text) => {
    const { archive } = await openAt((_, response) => refuse(response, status, reason));

    await expect(archive.put("a", Uint8Array.of(1))).rejects.toMatchObject({
      name: "ArchiveError",
      code,
      message: expect.stringContaining(text),
    });
  });

  it("says that S3 does not answer", async () => {
    const archive = S3Archive.open({ bucket: "packs", endpoint: "http://127.0.0.1:1" });
    onTestFinished(() => archive.close());

    await expect(archive.get("a")).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("S3 does not answer: check the network, and AWS_ENDPOINT_URL_S3"),
    });
  });
});

function newPlace(prefix?: string): S3Place & { readonly endpoint: string } {
  const bucket = `bucket-${++buckets}`;
  emulator.createBucket(bucket);
  return { bucket, prefix, endpoint: `http://127.0.0.1:${emulator.port}` };
}

/** An archive at an endpoint that answers as the test says. */
async function openAt(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  changes: Partial<S3Place> = {},
) {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    request.resume().once("end", () => answer(request, response));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const archive = S3Archive.open({ bucket: "packs", endpoint: `http://127.0.0.1:${port}`, ...changes });
  onTestFinished(() => {
    archive.close();
    server.closeAllConnections();
    server.close();
  });
  return { archive, requests };
}

/** Refuses a call as S3 does. */
function refuse(response: ServerResponse, status: number, code: string): void {
  const text = `<Error><Code>${code}</Code><Message>for a reason</Message></Error>`;
  response.writeHead(status, { "content-type": "application/xml" }).end(text);
}
