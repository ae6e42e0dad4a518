import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { findEqualAddresses } from "../../../relay/config/conflicts.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import { assertRunnable } from "../../../relay/config/replayable.ts";
import { CertificateAuthority } from "../../support/data/certificates.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const sqs = "https://sqs.eu-central-1.amazonaws.com/123456789012/relay";

/** What `config check` says of a file, one line a mistake, without the name of the file. */
function check(text: string, directory = temporaryDirectory()): readonly string[] {
  const file = join(directory, "spoa-relay.yaml");
  const whole = `${text}\n${/^queue:/m.test(text) ? "" : "queue: embedded:./data\n"}${
    /^targets:/m.test(text) ? "" : "targets: { a: { url: http://127.0.0.1:1, rate: 1/s } }\n"
  }`;
  writeFileSync(file, whole);
  try {
    const config = loadConfig(file, { KEY: "0123456789abcdef", SHORT: "0123456789abcde" });
    assertRunnable(config, "/usr/bin:/bin", Date.UTC(2026, 0, 1));
    return config.warnings.filter((warning) => warning.includes("is the address"));
  } catch (error) {
    return (error as Error).message.split("\n").map((line) => line.replace(`${file}:`, ""));
  }
}

it.each([
  [
    'agent: { admin: "127.0.0.1:12345" }',
    "1: agent.admin: is the address of agent.listen, 127.0.0.1:12345: use another port",
  ],
  [
    'agent: { admin: "0.0.0.0:12345" }',
    "1: agent.admin: is the address of agent.listen, 127.0.0.1:12345: use another port",
  ],
  [
    'agent: { listen: "unix:/run/a.sock", admin: "unix:/run/../run/a.sock" }',
    "1: agent.admin: is the address of agent.listen, unix:/run/a.sock: use another port",
  ],
  [
    'host: { admin: "127.0.0.1:12346" }',
    "1: host.admin: is the address of agent.admin, 127.0.0.1:12346: use another port",
  ],
  [
    'host: { admin: "localhost:12345" }',
    "1: host.admin: is the address of agent.listen, 127.0.0.1:12345: use another port",
  ],
  [
    "control: http://127.0.0.1:12346",
    "1: control: is the address of agent.admin, 127.0.0.1:12346: it must be where the control API answers, such as host.admin",
  ],
  [
    `queue: ${sqs}\nhost: { admin: "127.0.0.1:12346" }`,
    "host.admin is the address of agent.admin, 127.0.0.1:12346: use another port, if agent and host run on one machine",
  ],
])("finds the equal addresses of %s", (text, expected) => {
  expect(check(text)).toEqual([expected]);
});

it("agrees with the operating system on which addresses exclude each other", { timeout: 30_000 }, async () => {
  const hosts = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::ffff:127.0.0.1"];
  const listen = (host: string, port: number) =>
    new Promise<{ port: number; close: () => void } | undefined>((done) => {
      const server = createServer();
      server.once("error", () => done(undefined));
      server.listen({ host, port }, () => {
        const address = server.address();
        done({ port: typeof address === "object" ? (address?.port ?? 0) : 0, close: () => server.close() });
      });
    });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...hosts), fc.constantFrom(...hosts), async (one, other) => {
      const first = await listen(one, 0);
      if (!first) throw new Error(`${one} cannot be listened on`);
      const second = await listen(other, first.port);
      first.close();
      second?.close();
      const [a, b] = [one, other].map((host) => ({ kind: "tcp" as const, host, port: first.port }));
      const admin = { kind: "unix" as const, path: "/run/none.sock" };

      const { always } = findEqualAddresses({ agent: { listen: a, admin: b }, host: { admin } });
      expect(always.length, `${one} and ${other}`).toBe(second ? 0 : 1);
    }),
    { numRuns: 30 },
  );
});

it.each([
  ["127.1:9000", "127.0.0.1:9000"],
  ["LOCALHOST.:9000", "127.0.0.1:9000"],
  ["0x7f.0.0.1:9000", "[::ffff:127.0.0.1]:9000"],
  ["[::ffff:7f00:1]:9000", "127.0.0.1:9000"],
  ["[0::0]:9000", "127.0.0.1:9000"],
  ["[0:0::1]:9000", "[::1]:9000"],
  ["[FE80::A]:9000", "[fe80:0:0:0:0:0:0:a]:9000"],
  ["0:9000", "127.0.0.1:9000"],
  ["127.0.0.1:09000", "127.0.0.1:9000"],
])("knows %s and %s for one address", (listen, admin) => {
  expect(check(`agent: { listen: "${listen}", admin: "${admin}" }`)).toEqual([
    expect.stringContaining("1: agent.admin: is the address of agent.listen"),
  ]);
});

it.each([
  'agent: { admin: "0.0.0.0:9000" }\ncontrol: http://host.example:9000',
  'agent: { admin: "[::]:9000" }\ncontrol: http://10.0.0.7:9000',
  'agent: { listen: "localhost:9000", admin: "127.0.0.2:9000" }',
])("takes no address of another machine or another interface for equal: %s", (text) => {
  expect(check(text)).toEqual([]);
});

it("only warns of a control API at the agent's port if the agent may be on another machine", () => {
  expect(check(`queue: ${sqs}\ncontrol: http://127.0.0.1:12346`)).toEqual([
    expect.stringMatching(/^control is the address of agent\.admin, .*, if agent and host run on one machine$/),
  ]);
});

it("takes no addresses for equal that can be used together", () => {
  expect(check('agent: { listen: "127.0.0.1:9000", admin: "127.0.0.2:9000" }\nhost: { admin: "[::1]:9000" }')).toEqual(
    [],
  );
  expect(check('agent: { listen: "127.0.0.1:0", admin: "127.0.0.1:0" }')).toEqual([]);
  expect(check('agent: { listen: "unix:/run/a.sock", admin: "unix:/run/b.sock" }')).toEqual([]);
});

it.each([
  "captures: { c: { store: ./data/captures }, d: { store: ./data/captures } }",
  "captures: { c: { store: ./data } }",
  "agent: { journal: { directory: data } }\ncaptures: { c: { store: data/ } }",
  `queue: ${sqs}\nhost: { data: journal }`,
])("lets parts share a directory, as their files have different names: %s", (text) => {
  expect(check(text)).toEqual([]);
});

it.each([
  ["stickyBy: { header: X-User }", "header", "stickyBy.header"],
  ["stickyBy: { cookie: sid }", "cookie", "stickyBy.cookie"],
  ["order: byKey, key: { cookie: sid }", "cookie", "key.cookie"],
  ["order: byKey, key: { header: x-user }", "header", "key.header"],
  ["when: { header: { X-User: ^a } }", "condition", "when.header.x-user"],
])("finds a key or a condition on a header that the agent redacts: %s", (keys, _kind, path) => {
  const redact = "agent: { redact: { headers: [Cookie, X-USER] } }";
  const own =
    "agent: { redact: { headers: [Cookie, X-USER] }, stickyBy: { cookie: sid }, when: { header: { x-user: ^a } } }";
  const targets = `targets: { a: { url: http://127.0.0.1:1, rate: 1/s, ${keys} } }`;

  expect(check(`${redact}\n${targets}`)).toEqual([
    expect.stringContaining(`2: targets.a.${path}: agent.redact replaces the header`),
  ]);
  if (!keys.startsWith("order"))
    expect(check(`${redact}\ncaptures: { c: { store: ./c, ${keys} } }`)).toEqual([
      expect.stringContaining(`captures.c.${path}`),
    ]);
  expect(check(own)).toEqual([]);
});

it.each([
  ["stickyBy: { header: x-user }", "headers: [X-*]"],
  ["stickyBy: { cookie: sid }", "cookies: [S*]"],
  ["order: byKey, key: { cookie: sid }", "cookies: [sid]"],
])("lets a target use a masked key only if equal values have equal masks: %s", (keys, rule) => {
  const targets = `targets: { a: { url: http://127.0.0.1:1, rate: 1/s, ${keys} } }`;

  expect(check(`agent: { redact: { ${rule} } }\n${targets}`)).toEqual([
    expect.stringMatching(/: agent\.redact replaces the .*so all requests have the same key: set agent\.redact\.key/),
  ]);
  expect(check(`agent: { redact: { ${rule}, key: { env: KEY } } }\n${targets}`)).toEqual([]);
});

it("refuses a cookie as a key if the whole header is masked, also with a key", () => {
  const targets = "targets: { a: { url: http://127.0.0.1:1, rate: 1/s, stickyBy: { cookie: sid } } }";

  expect(check(`agent: { redact: { headers: [cookie], key: { env: KEY } } }\n${targets}`)).toEqual([
    expect.stringContaining("no request has this key"),
  ]);
});

it.each([
  ["NONE", "is not set"],
  ["SHORT", "has fewer than 16 characters"],
])("needs the key of the masks, which %s is not", (name, mistake) => {
  expect(check(`agent: { redact: { cookies: [a], key: { env: ${name} } } }`)).toEqual([
    `1: agent.redact.key: the environment variable ${name} ${mistake}`,
  ]);
});

it.each([
  ["json: [password]", 'json.0: "password" is not a path of keys, such as $.user.password or **.token'],
  ["json: [$]", 'json.0: "$" is not a path of keys'],
  ["json: [$.a.**]", 'json.0: "$.a.**" is not a path of keys'],
  ["json: ['$.a[0].b']", 'json.0: "$.a[0].b" is not a path of keys'],
  ["dropBodies: [{}]", "dropBodies.0: needs path or type, or both"],
  ["headers: ['a b']", "headers.0: is not a valid header name"],
  ["cookies: ['']", "cookies.0: must be a name"],
  ["key: { env: a-b }", "key.env: is not the name of an environment variable"],
  [`query: [${"a,".repeat(64)}a]`, "query: must not be longer than 64"],
  ["headers: [a, Host]", "headers.1: is never masked"],
  ["headers: [Content-Length]", "headers.0: is never masked"],
])("refuses a rule of redaction that would match nothing: %s", (rule, mistake) => {
  expect(check(`agent: { redact: { ${rule} } }`)).toEqual([expect.stringContaining(`1: agent.redact.${mistake}`)]);
});

it("lets a condition ask whether a redacted header is there", () => {
  const targets = "targets: { a: { url: http://127.0.0.1:1, rate: 1/s, when: { header: { cookie: . } } } }";

  expect(check(`agent: { redact: { headers: [cookie] } }\n${targets}`)).toEqual([]);
});

it.each([
  ["cert: no.pem, key: ./key.pem", "agent.tls.cert: no.pem cannot be read: there is no such file"],
  ["cert: cert.pem, key: ./no.pem", "agent.tls.key: ./no.pem cannot be read: there is no such file"],
  ["cert: cert.pem, key: sub", "agent.tls.key: sub cannot be read: it is a directory"],
  ["cert: cert.pem, key: cert.pem", "agent.tls.key: cert.pem contains no private key"],
  ["cert: ./key.pem, key: key.pem", "agent.tls.cert: ./key.pem contains no certificate in PEM format"],
  ["cert: cert.pem, key: other.pem", "agent.tls.key: other.pem is not the key of the certificate in cert.pem"],
  [
    "cert: cert.pem, key: key.pem, clientCa: sub/ca.pem",
    "agent.tls.clientCa: sub/ca.pem cannot be read: there is no such file",
  ],
])("finds a certificate or key of the agent that cannot be used: { %s }", (tls, expected) => {
  const directory = temporaryDirectory();
  const authority = new CertificateAuthority(directory, "authority");
  const [one, other] = ["agent", "elsewhere"].map((name) => authority.issue(name));
  copyFileSync(one.cert, join(directory, "cert.pem"));
  copyFileSync(one.key, join(directory, "key.pem"));
  copyFileSync(other.key, join(directory, "other.pem"));
  mkdirSync(join(directory, "sub"));

  expect(check(`agent: { tls: { ${tls} } }`, directory)).toEqual([expect.stringContaining(`1: ${expected}`)]);
  expect(check("agent: { tls: { cert: cert.pem, key: key.pem } }", directory)).toEqual([]);
});

it("finds a program of a token that this machine lacks", () => {
  const directory = temporaryDirectory();
  const file = join(directory, "token");
  writeFileSync(file, "#!/bin/sh\n");
  const text = (program: string) =>
    `targets: { a: { url: http://127.0.0.1:1, rate: 1/s, token: { command: [${program}] } } }`;
  const before = check(text(file));
  chmodSync(file, 0o755);

  expect(before).toEqual([`1: targets.a.token.command: ${file} is not a program that this user can run`]);
  expect(check(text(file))).toEqual([]);
  expect(check(text("no-such-program"))).toEqual([
    "1: targets.a.token.command: no-such-program is in no directory of PATH",
  ]);
  expect(check(text("sh"))).toEqual([]);
});
