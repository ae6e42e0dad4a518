import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../../relay/config/load.ts";
import { createLogger } from "../../../relay/log/log.ts";
import { hideUrlPasswords, showUrl } from "../../../relay/redaction/url-passwords.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

describe("a URL in an error", () => {
  it.each([
    ["http://user:hunter2@host:80/a?b=c", "http://…@host:80/a?b=c"],
    ["HTTPS://hunter2@host", "HTTPS://…@host"],
    ["http://user:hun/ter2@host", "http://…@host"],
    ["http://user:hun ter2@host", "http://…@host"],
    ["http://user:hun@ter2@host", "http://…@host"],
    ["http:user:hunter2@host", "…@host"],
    ["http:\\\\user:hunter2@host", "http:\\\\…@host"],
    ["user:hunter2@host", "…@host"],
    ["http://host/@name", "http://host/@name"],
    ["http://host:80/a@b", "http://host:80/a@b"],
    ["not a URL", "not a URL"],
    ["htp://host/token?client_secret=hunter2&b=c#token=hunter2", "htp://host/token?client_secret=…&b=c#token=…"],
    ["http://user:hun?ter2@host/?api_key=hunter2", "http://…@host/?api_key=…"],
  ])("%s has no password", (url, shown) => {
    expect(showUrl(url)).toBe(shown);
  });

  it.each([
    ["connect to http://user:hunter2@host:80/a failed", "connect to http://…@host:80/a failed"],
    ['{"url":"https://user:hunter2@host","next":"ftp://a:hunter2@b"}', '{"url":"https://…@host","next":"ftp://…@b"}'],
    ["http://user:hun/ter2@host is wrong", "http://…@host is wrong"],
    ["//user:hunter2@host", "//…@host"],
    [
      "see https://host/@user and http://[::1]:80/a@b, http://host:80/c@d",
      "see https://host/@user and http://[::1]:80/a@b, http://host:80/c@d",
    ],
    ["mail a@b // comment", "mail a@b // comment"],
  ])("has none in the sentence %s", (text, shown) => {
    expect(hideUrlPasswords(text)).toBe(shown);
  });
});

const url = "http://user:hunter2@127.0.0.1:1";
const target = "targets: { a: { url: http://127.0.0.1:1, rate: 1/s } }";

describe("a configuration", () => {
  it.each([
    ["a target", `targets: { a: { url: "${url}", rate: 1/s } }`],
    [
      "a target with a slash in the password",
      'targets: { a: { url: "http://user:hunter2/x@127.0.0.1:1", rate: 1/s } }',
    ],
    [
      "a target with a space in the password",
      'targets: { a: { url: "http://user:hunter2 x@127.0.0.1:1", rate: 1/s } }',
    ],
    ["a target in plain style", `targets:\n  a:\n    url: ${url}\n    rate: 1/s`],
    ["a rate", `targets: { a: { url: http://127.0.0.1:1, rate: "${url}" } }`],
    ["a token endpoint", `targets: { a: { url: http://127.0.0.1:1, rate: 1/s, token: { url: "${url}/token" } } }`],
    [
      "the target's queue",
      `targets: { a: { url: http://127.0.0.1:1, rate: 1/s, queue: "${url}/1/q" } }\nstate: dynamodb:t`,
    ],
    ["the queue", `queue: "${url}/1/q"\n${target}`],
    ["the control API", `control: "${url}"\n${target}`],
    ["the state", `state: "${url}"\n${target}`],
    ["a capture", `captures: { c: { store: "${url}/x" } }`],
    ["an address", `agent: { listen: "${url}" }\n${target}`],
    ["a key of the file", `"${url}": 1\n${target}`],
    ["the name of a target", `targets: { "${url}": { url: http://127.0.0.1:1, rate: 1/s } }`],
    ["broken YAML", `targets: { a: { url: "${url}", rate: 1/s }\n x: "${url}" }} ${url}`],
  ])("with a password in %s is refused without it", (_, text) => {
    const file = join(temporaryDirectory(), "spoa-relay.yaml");
    writeFileSync(file, `${text}\n${/^queue:/m.test(text) ? "" : "queue: embedded:./data\n"}`);

    let message = "";
    try {
      loadConfig(file, {});
    } catch (error) {
      message = (error as Error).message;
    }

    expect(message).not.toBe("");
    expect(hideUrlPasswords(message)).not.toContain("hunter2");
  });
});

it("in an error of a library is not logged", () => {
  const lines: string[] = [];
  const log = createLogger("info", { write: (line) => lines.push(line) });

  log.error({ event: "x", problem: `fetch ${url}/a failed`, nested: { url } }, `cannot reach ${url}`);
  log.child({ target: url }).warn({ error: new Error(`no answer from ${url}`) }, "again");

  expect(lines.join("")).not.toContain("hunter2");
  expect(lines.map((line) => JSON.parse(line).msg)).toEqual(["cannot reach http://…@127.0.0.1:1", "again"]);
});
