import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Config } from "../../../relay/config/config.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import { assertReplayable } from "../../../relay/config/replayable.ts";
import { ConfigError } from "../../../relay/config/text.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

describe("credentials", () => {
  const token = "token: {command: [a]}";

  it.each([
    ["nothing", token, "captured"],
    ["for: captured", `${token}\n    credentials: {for: captured}`, "captured"],
    ["for: all", `sign: {service: lambda, region: eu-west-1}\n    credentials: {for: all}`, "all"],
  ])("are for the requests that the target names: %s", (_, text, expected) => {
    expect(load(text).targets[0].credentialsFor).toBe(expected);
  });

  it.each([
    ["without token and sign", "credentials: {for: all}", /credentials: has no effect without token or sign/],
    ["for something else", `${token}\n    credentials: {for: some}`, /credentials\.for: /],
  ])("are refused %s", (_, text, mistake) => {
    expect(mistakeOf(() => load(text))).toMatch(mistake);
  });
});

describe("a header from the environment", () => {
  const file = `headers: {set: {X-Key: {env: KEY}, x-plain: "1"}}`;

  it("has the value of the variable", () => {
    const config = load(file, { KEY: "k-1" });

    expect(config.targets[0].headers.set).toEqual({ "x-key": "k-1", "x-plain": "1" });
    expect(() => assertReplayable(config)).not.toThrow();
  });

  it("that is missing is a mistake only for a process that replays", () => {
    const config = load(file);

    expect(mistakeOf(() => assertReplayable(config))).toMatch(
      /:6: targets\.staging\.headers\.set\.x-key: the environment variable KEY is not set$/,
    );
  });

  it("that is missing is not a mistake for a process that replays for another target", () => {
    const config = load(file);

    expect(() => assertReplayable(config, "another")).not.toThrow();
    expect(() => assertReplayable(config, "staging")).toThrow(/KEY is not set/);
  });

  it("that cannot be sent is named without its value", () => {
    const mistake = mistakeOf(() => assertReplayable(load(file, { KEY: "secret\nx: y" })));

    expect(mistake).toMatch(
      /the environment variable KEY holds a character that a header cannot, such as a line break/,
    );
    expect(mistake).not.toContain("secret");
  });
});

describe("token", () => {
  it("is printed by a command, and is sent in Authorization by default", () => {
    const { token, headers } = load("token: {command: [/usr/bin/token, --for, shadow]}").targets[0];

    expect(token).toEqual({
      source: { kind: "command", command: ["/usr/bin/token", "--for", "shadow"] },
      field: "access_token",
      expiresMs: 900_000,
      header: "authorization",
      format: "Bearer {token}",
    });
    expect(headers.remove).toEqual(["authorization"]);
  });

  it("is requested from a URL that receives a secret of the environment", () => {
    const fields = `{grant_type: client_credentials, client_id: relay, client_secret: {env: SECRET}, scope: "\${SCOPE:-all}"}`;
    const text = `token: {url: "https://login.example/token", form: ${fields}, headers: {X-Tenant: {env: TENANT}}, header: X-Token, format: "{token}", expires: 1h, field: id_token}`;
    const { token, headers } = load(text, { SECRET: "007", TENANT: "t" }).targets[0];

    expect(token).toEqual({
      source: {
        kind: "url",
        url: new URL("https://login.example/token"),
        headers: { "x-tenant": "t" },
        body: {
          type: "form",
          fields: { grant_type: "client_credentials", client_id: "relay", client_secret: "007", scope: "all" },
        },
      },
      field: "id_token",
      expiresMs: 3_600_000,
      header: "x-token",
      format: "{token}",
    });
    expect(headers.remove).toEqual(["x-token"]);
  });

  it.each([
    ["neither a command nor a URL", "{field: id}", "token: needs either command or url"],
    ["both a command and a URL", "{command: [a], url: https://a.example}", "token: needs either command or url"],
    [
      "a command that is a single text",
      "{command: a b}",
      "token.command: must be a list: the program and its arguments",
    ],
    ["no program", "{command: []}", "token.command: must name a program"],
    ["http to another machine", "{url: http://login.example}", "token.url: .*https or on this machine"],
    ["a password in the URL", "{url: https://a:b@login.example}", "token.url: .*without a password"],
    ["two bodies", "{url: https://a.example, form: {}, json: {}}", "token.json: cannot be combined with form"],
    ["a body for a command", "{command: [a], form: {a: b}}", "token.form: is for url; a command has no body"],
    ["headers for a command", "{command: [a], headers: {a: b}}", "token.headers: is for url; a command has no headers"],
    ["a format without a token", "{command: [a], format: Bearer}", "token.format: must contain {token}"],
    ["a header of the connection", "{command: [a], header: Host}", "token.header: is a header that spoa-relay writes"],
    [
      "a number as a secret",
      "{url: https://a.example, form: {a: 007}}",
      "form.a: must be a text, with quotes if it is a number",
    ],
    ["a short lifetime", "{command: [a], expires: 1s}", "token.expires: must be from 10s to 365d"],
  ])("is refused with %s", (_, token, mistake) => {
    expect(mistakeOf(() => load(`token: ${token}`))).toMatch(
      new RegExp(`:6: targets\\.staging\\.(token\\.)?${mistake}`),
    );
  });

  it.each(["https://login.example", "http://127.0.0.1:1/a?b=c", "http://localhost:1", "http://[::1]:1"])(
    "may come from %s",
    (url) => {
      expect(load(`token: {url: "${url}"}`).targets[0].token?.source).toMatchObject({ kind: "url", url: new URL(url) });
    },
  );

  it("is refused beside a header of the same name", () => {
    const text = "headers: {set: {authorization: x}}\n    token: {command: [a]}";

    expect(mistakeOf(() => load(text))).toContain(
      ":7: targets.staging.token.header: authorization is also in headers.set",
    );
  });
});

describe("sign", () => {
  it("names service, region and profile", () => {
    const { sign } = load("sign: {service: execute-api, region: eu-west-1, profile: shadow}").targets[0];

    expect(sign).toEqual({ service: "execute-api", region: "eu-west-1", profile: "shadow" });
  });

  it("uses the region of the target if it names none", () => {
    const text = file("region: us-east-2\n    sign: {service: lambda}").replace(
      /^queue: .*$/m,
      "queue: https://sqs.eu-central-1.amazonaws.com/123456789012/relay\nstate: dynamodb:relay",
    );

    expect(loadText(text).targets[0].sign).toEqual({ service: "lambda", region: "us-east-2" });
  });

  it.each([
    ["without any region", "sign: {service: lambda}", "sign.region: is needed, since the target has no region"],
    [
      "for an invalid region",
      "sign: {service: lambda, region: nowhere}",
      "sign.region: must be an AWS region, such as",
    ],
    [
      "beside a token in the same header",
      "sign: {service: lambda, region: eu-west-1}\n    token: {command: [a]}",
      "token.header: sign writes the authorization header",
    ],
    [
      "beside a header of the same name",
      "sign: {service: lambda, region: eu-west-1}\n    headers: {set: {authorization: x}}",
      "headers.set: sign writes the authorization header",
    ],
  ])("is refused %s", (_, text, mistake) => {
    expect(mistakeOf(() => load(text))).toContain(`targets.staging.${mistake}`);
  });
});

function file(keys: string): string {
  return `queue: embedded:./data
targets:
  staging:
    url: http://127.0.0.1:8082
    rate: 200/s
    ${keys}
`;
}

function load(keys: string, env: Record<string, string> = {}): Config {
  return loadText(file(keys), env);
}

function loadText(text: string, env: Record<string, string> = {}): Config {
  const path = join(temporaryDirectory(), "spoa-relay.yaml");
  writeFileSync(path, text);
  return loadConfig(path, env);
}

function mistakeOf(work: () => void): string {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return "";
}
