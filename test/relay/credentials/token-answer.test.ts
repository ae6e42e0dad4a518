import { describe, expect, it } from "vitest";
import { parseTokenAnswer } from "../../../relay/credentials/token-answer.ts";

describe("parseTokenAnswer", () => {
  it.each([
    ["a token alone", "abc.def\n", "abc.def", 900_000],
    ["JSON as of RFC 6749", '{"access_token":"abc","token_type":"Bearer","expires_in":3600}', "abc", 3_600_000],
    ["JSON without a time", ' {"access_token": "abc"} ', "abc", 900_000],
    ["a time as a text", '{"access_token":"abc","expires_in":"60"}', "abc", 60_000],
    ["a time that is none", '{"access_token":"abc","expires_in":-5}', "abc", 900_000],
    ["a time for ever", '{"access_token":"abc","expires_in":1e99}', "abc", 31_536_000_000],
  ])("reads %s", (_what, text, value, holdsMs) => {
    expect(parseTokenAnswer(text, "access_token", 900_000)).toEqual({ value, holdsMs });
  });

  it("takes the token from the field that is named", () => {
    expect(parseTokenAnswer('{"access_token":"a","id_token":"b"}', "id_token", 1).value).toBe("b");
  });

  it.each([
    ["nothing", " \n"],
    ["two lines", "secret-1\nsecret-2"],
    ["control characters", "secret\u0000"],
    ["a page", "<html>\n<body>secret</body>"],
    ["JSON without a token", '{"token":"secret"}'],
    ["JSON with a token that is no text", '{"access_token":{"secret":1}}'],
    ["JSON with a token that no header can hold", '{"access_token":"secret\\r\\nx: y"}'],
    ["broken JSON", '{"access_token":"secret'],
  ])("refuses %s, and quotes nothing of it", (_what, text) => {
    expect(() => parseTokenAnswer(text, "access_token", 1)).toThrow(/^the answer is (?!.*secret)/);
  });
});
