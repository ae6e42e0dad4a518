import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { toExported } from "../../../relay/exchange/exported.ts";
import { expectedRequest } from "../../support/data/captured-requests.ts";

const digests = ["Content-MD5", "abc", "X-Amz-Content-Sha256", "abc"];

it.each([
  ["changed, to the same length", Buffer.from('{"password":"12345678"}'), [], {}],
  ["changed and incomplete", Buffer.from('{"password":"1234"}'), [], { bodyState: "truncated" } as const],
  ["not shown", gzipSync("{}"), ["Content-Encoding", "gzip"], {}],
])("leaves out the digests of a body that is %s", (_, body, headers, parts) => {
  const request = expectedRequest({ headers: [...headers, ...digests], body, ...parts }, 0);

  expect(toExported(request, { redact: true }).headers).toEqual(headers);
  expect(toExported(request, {}).headers).toEqual(request.headers);
});

it("keeps the digests of a body without secrets", () => {
  const headers = ["Content-MD5", "abc"];
  const request = expectedRequest({ headers, body: Buffer.from("{}") }, 0);

  expect(toExported(request, { redact: true }).headers).toEqual(headers);
});
