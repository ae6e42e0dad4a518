import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { RequestSigner } from "../../../relay/credentials/request-signer.ts";
import type { OutboundRequest } from "../../../relay/replay/outbound.ts";
import { Transport } from "../../../relay/replay/transport.ts";
import { findSignatureMistake } from "../../support/aws/signature-check.ts";
import { target } from "../../support/data/targets.ts";
import { type ReceivedRequest, ShadowServer } from "../../support/servers/shadow-server.ts";

const keys = { id: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };
const scope = { service: "execute-api", region: "eu-west-1" };

describe("RequestSigner", () => {
  it("signs the request that arrives, for any path, query, body and content type", async () => {
    const bench = await Bench.start();
    const part = fc.string({ unit: fc.constantFrom(..."aZ0-._~ é$&=+,/:;@!*'()%C3%A9".split("")), maxLength: 12 });
    const path = fc.tuple(part, part, fc.boolean()).map(([path, query, asked]) => {
      const written = (text: string) => encodeURI(text).replaceAll(/[ ?#]/g, "_");
      return `/${written(path)}${asked ? `?${written(query)}` : ""}`;
    });
    const request = fc.record({
      path,
      body: fc.uint8Array({ maxLength: 300 }),
      type: fc.constantFrom("text/plain", "a/b; c=d"),
    });
    await fc.assert(
      fc.asyncProperty(request, async ({ path, body, type }) => {
        const received = await bench.send({ method: "POST", path, body, headers: ["Content-Type", type] });
        expect(findSignatureMistake(received, { ...keys, ...scope })).toBeUndefined();
        expect(Buffer.compare(received.body, body)).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ["/a b", "/a%20b"],
    ["/%c3%a9%41/\xe9", "/%C3%A9A/%E9"],
    ["/a//b/./c", "/a//b/./c"],
    ["/?a+b=c+d&e=f=g&h&&i=", "/?a%20b=c%20d&e=f%3Dg&h&i="],
    ["/100%?x=50%", "/100%25?x=50%25"],
  ])("writes %s as %s", async (path, written) => {
    const bench = await Bench.start();
    const received = await bench.send({ path });

    expect(received.path).toBe(written);
    expect(findSignatureMistake(received, { ...keys, ...scope })).toBeUndefined();
  });

  it("encodes paths of S3 only once", async () => {
    const s3 = { service: "s3", region: "us-east-1" };
    const received = await (await Bench.start(s3)).send({ path: "/bucket/a%20b(1)?versionId=1" });

    expect(received.path).toBe("/bucket/a%20b%281%29?versionId=1");
    expect(findSignatureMistake(received, { ...keys, ...s3 })).toBeUndefined();
  });

  it("removes a captured signature from headers and query, and keeps headers that the target sets", async () => {
    const bench = await Bench.start(scope, { "x-amz-target": "T.Do" });
    const captured = [
      "Authorization",
      "AWS4-HMAC-SHA256 old",
      "X-Amz-Date",
      "20200101T000000Z",
      "X-Amz-Security-Token",
      "t",
    ];
    const received = await bench.send({
      path: "/?X-Amz-Signature=0&x-amz-credential=c&id=1",
      headers: [...captured, "X-Other", "o", "x-amz-target", "T.Do"],
    });

    expect(received.path).toBe("/?id=1");
    expect(received.headers).toMatchObject({ "x-other": "o", "x-amz-target": "T.Do" });
    expect(received.rawHeaders.filter((name) => name.toLowerCase() === "authorization")).toHaveLength(1);
    expect(findSignatureMistake(received, { ...keys, ...scope })).toBeUndefined();
  });

  it("sends the session token", async () => {
    const session = { ...keys, sessionToken: "session+/=" };
    const received = await (await Bench.start()).send({}, session);

    expect(findSignatureMistake(received, { ...session, ...scope })).toBeUndefined();
  });

  it("signs with the current credentials", async () => {
    const bench = await Bench.start();
    await bench.send({});
    const renewed = { id: "AKIDOTHER", secret: "other" };

    expect(findSignatureMistake(await bench.send({}, renewed), { ...renewed, ...scope })).toBeUndefined();
  });

  it("cannot sign a query that is not UTF-8", async () => {
    const signer = new RequestSigner(scope, { set: {}, remove: [] });
    const request = { method: "GET", path: "/?a=%ff", headers: ["host", "h"], body: new Uint8Array() };

    expect(await signer.sign(request, toAws(keys))).toEqual({
      kind: "unsendable",
      reason: "the query is not UTF-8 and cannot be signed",
    });
  });
});

/** A signer, and a server that records the signed requests. */
class Bench {
  readonly #shadow: ShadowServer;
  readonly #signer: RequestSigner;
  readonly #transport: Transport;

  static async start(purpose = scope, set: Record<string, string> = {}): Promise<Bench> {
    return new Bench(await ShadowServer.start(), new RequestSigner(purpose, { set, remove: [] }));
  }

  private constructor(shadow: ShadowServer, signer: RequestSigner) {
    this.#shadow = shadow;
    this.#signer = signer;
    this.#transport = new Transport(target({ url: shadow.url }));
    onTestFinished(() => this.#transport.close());
  }

  async send(
    { headers = [], ...changes }: Partial<OutboundRequest>,
    credentials: Parameters<typeof toAws>[0] = keys,
  ): Promise<ReceivedRequest> {
    const host = ["host", this.#shadow.url.host];
    const request = { method: "GET", path: "/", body: new Uint8Array(), headers: [...host, ...headers], ...changes };
    const signed = await this.#signer.sign(request, toAws(credentials));
    if (signed.kind !== "send") throw new Error(signed.reason);
    expect(await this.#transport.send(signed.request)).toMatchObject({ kind: "answered" });
    return this.#shadow.received.at(-1) as ReceivedRequest;
  }
}

function toAws({ id, secret, sessionToken }: { id: string; secret: string; sessionToken?: string }) {
  return { accessKeyId: id, secretAccessKey: secret, ...(sessionToken !== undefined && { sessionToken }) };
}
