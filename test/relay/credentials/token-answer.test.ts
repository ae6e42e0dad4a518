import { describe, expect, it } from "vitest";
import { parseTokenAnswer } from "../../../relay/credentials/token-answer.ts";

describe("parseTokenAnswer", () => {
  it.each([
    ["only a token", "abc.def\n", "abc.def", 900_000],
    ["JSON as in RFC 6749", '{"access_token":"abc","token_type":"Bearer","expires_in":3600}', "abc", 3_600_000],
    ["JSON without a lifetime", ' {"access_token": "abc"} ', "abc", 900_000],
    ["a lifetime that is a string", '{"access_token":"abc","expires_in":"60"}', "abc", 60_000],
    ["an invalid lifetime", '{"access_token":"abc","expires_in":-5}', "abc", 900_000],
    ["a huge lifetime, limited to a year", '{"access_token":"abc","expires_in":1e99}', "abc", 31_536_000_000],
  ])("reads %s", (_case, text, value, holdsMs) => {
    expect(parseTokenAnswer(text, "access_token", 900_000)).toEqual({ value, holdsMs });
  });

  it("reads the token from the given field", () => {
    expect(parseTokenAnswer('{"access_token":"a","id_token":"b"}', "id_token", 1).value).toBe("b");
  });

  it.each([
    ["an empty answer", " \n"],
    ["two lines", "secret-1\nsecret-2"],
    ["control characters", "secret\u0000"],
    ["an HTML page", "<html>\n<body>secret</body>"],
    ["JSON without a token", '{"token":"secret"}'],
    ["JSON with a token that is not a string", '{"access_token":{"secret":1}}'],
    ["JSON with a token that is not a header value", '{"access_token":"secret\\r\\nx: y"}'],
    ["broken JSON", '{"access_token":"secret'],
  ])("refuses %s without quoting it", (_case, text) => {
    expect(() => parseTokenAnswer(text, "access_token", 1)).toThrow(/^the answer is (?!.*secret)/);
  });
});
