import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { dirname, join } from "node:path";
import { createAdaptorServer } from "@hono/node-server";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { Access } from "../../../functions/control/access.ts";
import { functionUrlRegion } from "../../../relay/aws/signature.ts";
import { ControlClient, type ControlPlace } from "../../../relay/control/client.ts";
import { fannedOut } from "../../contract/state-contract.ts";
import { ControlBench } from "../../support/benches/control-bench.ts";
import { packMessage, requests } from "../../support/data/packs.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";
import { type AwsKeys, FunctionUrl } from "../../support/lambda/function-url.ts";

const file = "/etc/spoa-relay.yaml";
const token = "correct-horse-battery";

describe("the client of the control API", () => {
  it("calls every route of the API", async () => {
    const { bench, client } = await served();
    await bench.queue.deadLetters.send([
      packMessage({ sequence: 1, requests: requests(2) }),
      packMessage({ sequence: 2, requests: requests(3) }),
    ]);
    const changed = await client.changeTarget("staging", { rate: "5/s", concurrency: 2 });
    const paused = await client.pauseTarget("staging");
    const { letters } = await client.deadLetters("staging", 10);

    expect([changed.rate.live, changed.concurrency.live, paused.paused]).toEqual(["5/s", 2, true]);
    expect((await client.resumeTarget("staging")).paused).toBe(false);
    expect((await client.targets()).map(({ name }) => name)).toEqual(["staging"]);
    expect((await client.ledger()).targets.staging.inDeadLetters).toBe(5);
    expect((await client.ledger(Array.from({ length: 200 }, (_, i) => `a+b&c~${i}`))).agents).toEqual([]);
    expect((await client.figures("staging", 5)).minutes).toEqual([]);
    expect((await client.deadLetter("staging", letters[1].id)).contents).toHaveLength(3);
    expect(await client.redrive("staging", { id: letters[1].id })).toMatchObject({ requests: 3, remaining: 1 });
    expect(await client.redrive("staging")).toMatchObject({ requests: 2, remaining: 0 });
  });

  it("calls the API over a unix socket", async () => {
    const path = join(temporaryDirectory(), "admin.sock");
    const { client } = await served({ kind: "checked" }, (server) => server.listen(path), {
      host: { admin: { kind: "unix", path } },
    });

    expect(await client.targets()).toHaveLength(1);
  });

  it("sends the token", async () => {
    const { client } = await served({ kind: "token", token }, undefined, { token });

    expect(await client.targets()).toHaveLength(1);
  });

  it("sends the token in the file of a host on this machine, even if the host creates it later", async () => {
    const tokenFile = join(temporaryDirectory(), "data", "control-token");
    const { bench, url } = await served({ kind: "local", token });
    const client = clientWith({
      host: { admin: { kind: "tcp", host: "127.0.0.1", port: Number(url.port) }, tokenFile },
    });
    expect(await client.targets()).toHaveLength(1);
    await expect(client.pauseTarget("staging")).rejects.toThrow("host.tokenFile");
    mkdirSync(dirname(tokenFile));
    writeFileSync(tokenFile, `${token}\n`);
    await client.pauseTarget("staging");

    expect((await bench.state.controls.read("staging")).control.settings?.paused).toBe(true);
  });

  it("says why the token of the host cannot be read, but shows figures", async () => {
    const tokenFile = temporaryDirectory();
    const { url } = await served({ kind: "local", token });
    const client = clientWith({
      host: { admin: { kind: "tcp", host: "127.0.0.1", port: Number(url.port) }, tokenFile },
    });

    expect(await client.targets()).toHaveLength(1);
    await expect(client.pauseTarget("staging")).rejects.toThrow(
      `the token in ${tokenFile} cannot be read: it is not a regular file`,
    );
  });

  it("sends no token of a file to another address than host.admin", async () => {
    const tokenFile = join(temporaryDirectory(), "control-token");
    writeFileSync(tokenFile, token);
    const { url } = await served({ kind: "local", token });
    const client = clientWith({
      control: url,
      host: { admin: { kind: "tcp", host: "127.0.0.1", port: 1 }, tokenFile },
    });

    await expect(client.pauseTarget("staging")).rejects.toThrow("the token is missing or wrong");
  });

  it.each<[string, string, Omit<ControlPlace, "file">]>([
    [
      "control",
      "http://192.0.2.1:9 would get host.token unencrypted: use https",
      { control: new URL("http://192.0.2.1:9"), host: { admin: { kind: "unix", path: "/nowhere" }, token } },
    ],
    [
      "host.admin",
      "192.0.2.1:9 is another machine, and would get the token of the host unencrypted: run this on the host's machine",
      { host: { admin: { kind: "tcp", host: "192.0.2.1", port: 9 }, token } },
    ],
    [
      "host.admin",
      "2001:db8::1:9 is another machine",
      { host: { admin: { kind: "tcp", host: "2001:db8::1", port: 9 }, token } },
    ],
  ])("sends no token unencrypted to another machine: %s", async (key, message, place) => {
    await expect(clientWith(place).targets()).rejects.toMatchObject({
      code: "BAD_REQUEST",
      message: expect.stringContaining(`${file}: ${key}: ${message}`),
    });
  });

  it("sends the token to any address of this machine", async () => {
    const { url } = await served({ kind: "token", token }, (server) => server.listen(0, "0.0.0.0"));
    const own = Object.values(networkInterfaces()).flatMap((of = []) => of.filter(({ family }) => family === "IPv4"));
    for (const host of ["0.0.0.0", "127.9.9.9", "localhost", ...own.map(({ address }) => address)]) {
      const client = clientWith({ host: { admin: { kind: "tcp", host, port: Number(url.port) }, token } });
      expect([host, (await client.targets()).length]).toEqual([host, 1]);
    }
  });

  it("asks for the rows of runs that have ended, whatever characters their names have", async () => {
    const { bench, client } = await served();
    const run = "a+b&c%~0badcafe";
    await bench.state.ledger.recordFanOut(fannedOut({ agent: run }));
    bench.nowMs += 16 * 86_400_000;
    await bench.state.fold();

    expect((await client.ledger()).agents).toEqual([]);
    expect((await client.ledger(["edge~1", run])).agents).toMatchObject([{ agent: run, packs: 1 }]);
  });

  it("asks for as many of them as an agent has had, in several calls if the names are too long for one", async () => {
    const { bench, client } = await served();
    const runs = Array.from({ length: 240 }, (_, i) => `${'"'.repeat(64)}~${i}`);
    for (const [i, agent] of runs.entries()) {
      await bench.state.ledger.recordFanOut(fannedOut({ pack: `${i}`, agent, sequence: 1 }));
    }
    bench.nowMs += 16 * 86_400_000;
    await bench.state.fold();

    const { agents } = await client.ledger(runs);
    expect(agents.map(({ agent }) => agent).sort()).toEqual([...runs].sort());
  });

  it("says what is wrong with the token of a file that the host refuses", async () => {
    const missing = join(temporaryDirectory(), "control-token");
    const { url } = await served({ kind: "token", token });
    const admin = { kind: "tcp", host: "127.0.0.1", port: Number(url.port) } as const;

    for (const [tokenFile, what] of [
      [missing, `there is no file ${missing} (host.tokenFile)`],
      [tokenInFile("another-horse-battery"), "control-token has another token than the host"],
    ]) {
      await expect(clientWith({ host: { admin, tokenFile } }).targets()).rejects.toMatchObject({
        code: "FAILED",
        message: expect.stringMatching(/^the token is missing or wrong: .* look for control-closed in the host's log$/),
      });
      await expect(clientWith({ host: { admin, tokenFile } }).targets()).rejects.toThrow(what);
    }
  });

  it("says which token is missing", async () => {
    const { client } = await served({ kind: "token", token });

    await expect(client.targets()).rejects.toMatchObject({
      code: "FAILED",
      message: expect.stringContaining("host.token"),
    });
  });

  it("takes a wrong value, and a name that does not exist, for a mistake of the caller", async () => {
    const { client } = await served();

    await expect(client.changeTarget("staging", { concurrency: 0 })).rejects.toMatchObject({
      code: "BAD_REQUEST",
      message: "body.concurrency: must be from 1 to 10000",
    });
    await expect(client.pauseTarget("no/body")).rejects.toMatchObject({
      code: "BAD_REQUEST",
      message: "there is no target no/body; the configuration has: staging",
    });
  });

  it("says how to start the host if none answers", async () => {
    const port = await closedPort();
    const client = new ControlClient({ file, host: { admin: { kind: "tcp", host: "127.0.0.1", port } } });

    await expect(client.targets()).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: `no host answers on 127.0.0.1:${port}; start it: spoa-relay host --config ${file}`,
    });
  });

  it("says how to start the host if its socket does not exist", async () => {
    const path = join(temporaryDirectory(), "nothing.sock");
    const client = new ControlClient({ file, host: { admin: { kind: "unix", path } } });

    await expect(client.targets()).rejects.toThrow(`no host answers on unix:${path}; start it`);
  });

  it("names control as well if no host answers and Lambda functions may replay", async () => {
    const port = await closedPort();
    const aws = {
      table: "relay",
      tableRegion: "eu-west-1",
      ingressQueue: "https://sqs.eu-west-1.amazonaws.com/1/q",
      targetQueues: new Map<string, string>(),
    };
    const client = new ControlClient({ file, aws, host: { admin: { kind: "tcp", host: "127.0.0.1", port } } });

    await expect(client.targets()).rejects.toMatchObject({
      code: "UNREACHABLE",
      message:
        `no host answers on 127.0.0.1:${port}; if Lambda functions replay, set control: in ${file} to ` +
        `the output ControlUrl of the deployment; else start a host: spoa-relay host --config ${file}`,
    });
  });

  it("says that another program has the address", async () => {
    const server = createServer((_, response) => response.writeHead(200).end("<html>"));
    const port = await listening(server);
    const client = new ControlClient({ file, host: { admin: { kind: "tcp", host: "127.0.0.1", port } } });

    await expect(client.targets()).rejects.toThrow(
      `127.0.0.1:${port} answers 200 and is not a control API; check host.admin in ${file}`,
    );
  });

  it("says that a host that closes the connection does not answer", async () => {
    const server = createServer((request) => request.socket.destroy());
    const port = await listening(server);
    const client = new ControlClient({ file, host: { admin: { kind: "tcp", host: "127.0.0.1", port } } });

    await expect(client.targets()).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining(`the host on 127.0.0.1:${port} does not answer: `),
    });
  });

  it("calls the origin in control, with the token", async () => {
    const { url } = await served({ kind: "token", token });
    const admin = { kind: "unix", path: "/nowhere" } as const;
    const client = new ControlClient({ file, control: url, host: { admin, token } });
    onTestFinished(() => client.close());

    expect(await client.targets()).toHaveLength(1);
  });

  it("names control if its origin does not answer", async () => {
    const control = new URL(`http://127.0.0.1:${await closedPort()}`);
    const client = new ControlClient({ file, control, host: { admin: { kind: "unix", path: "/nowhere" } } });

    await expect(client.targets()).rejects.toThrow(`${control.origin} does not answer: `);
    await expect(client.targets()).rejects.toThrow(`check control in ${file}`);
  });
});

describe("calls of a function URL", () => {
  const keys: AwsKeys = { id: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };
  afterEach(() => vi.unstubAllEnvs());

  it.each<[string, AwsKeys]>([
    ["keys", keys],
    ["the keys of a session", { ...keys, sessionToken: "FwoGZXIvYXdzEBY/+==" }],
  ])("are signed with %s, and carry no token", async (_, used) => {
    const { client, authorizations } = await behindFunctionUrl(used, used);

    expect(await client.targets()).toHaveLength(1);
    expect((await client.changeTarget("staging", { rate: "5/s" })).rate.live).toBe("5/s");
    expect((await client.figures("staging", 5)).target).toBe("staging");
    expect((await client.pauseTarget("staging")).paused).toBe(true);
    expect(await client.redrive("ingress")).toMatchObject({ done: true });
    expect(authorizations.every((authorization) => authorization?.startsWith("AWS4-HMAC-SHA256 "))).toBe(true);
  });

  it("say what to do if AWS does not accept the signature", async () => {
    const { client } = await behindFunctionUrl(keys, { ...keys, secret: "another" });

    await expect(client.targets()).rejects.toThrow(/check AWS_SECRET_ACCESS_KEY.*SignatureDoesNotMatch, HTTP 403/);
  });

  it("say what to do if AWS does not know the credentials", async () => {
    const { client } = await behindFunctionUrl(keys, { ...keys, id: "AKIDANOTHER" });

    await expect(client.targets()).rejects.toThrow(/AWS does not know these credentials/);
  });

  it("say what to do if there are no credentials", async () => {
    const nowhere = join(temporaryDirectory(), "none");
    vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", nowhere);
    vi.stubEnv("AWS_CONFIG_FILE", nowhere);
    vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
    const { client } = await behindFunctionUrl(keys, undefined);

    await expect(client.targets()).rejects.toThrow(/there are no usable AWS credentials: set AWS_ACCESS_KEY_ID/);
  });

  it.each([
    ["https://abc123.lambda-url.eu-central-1.on.aws", "eu-central-1"],
    ["https://abc123.lambda-url.us-gov-west-1.on.aws", "us-gov-west-1"],
    ["https://abc123.lambda-url.eu-central-1.on.aws.evil.example", undefined],
    ["https://relay.example", undefined],
  ])("are recognised by their host: %s", (url, region) => {
    expect(functionUrlRegion(new URL(url))).toBe(region);
  });

  async function behindFunctionUrl(accepted: AwsKeys, used: AwsKeys | undefined) {
    vi.stubEnv("AWS_ACCESS_KEY_ID", used?.id);
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", used?.secret);
    vi.stubEnv("AWS_SESSION_TOKEN", used?.sessionToken);
    vi.stubEnv("AWS_PROFILE", undefined);
    const bench = new ControlBench({ access: { kind: "checked" } });
    const authorizations: (string | null)[] = [];
    const { url, dispatcher } = await FunctionUrl.start(accepted, (request) => {
      authorizations.push(request.headers.get("authorization"));
      return bench.app.fetch(request);
    });
    const admin = { kind: "unix", path: "/nowhere" } as const;
    const client = new ControlClient({ file, control: url, host: { admin, token } }, dispatcher);
    onTestFinished(() => client.close());
    return { client, authorizations };
  }
});

function clientWith(place: Omit<ControlPlace, "file">): ControlClient {
  const client = new ControlClient({ file, ...place });
  onTestFinished(() => client.close());
  return client;
}

/** The API on a real address, and a client for it. */
async function served(
  access: Access = { kind: "checked" },
  listen: (server: Server) => void = (server) => server.listen(0, "127.0.0.1"),
  { host, token: shown }: { readonly host?: ControlPlace["host"]; readonly token?: string } = {},
) {
  const bench = new ControlBench({ access });
  const server = createAdaptorServer(bench.app) as Server;
  const port = await listening(server, listen);
  const url = new URL(`http://127.0.0.1:${port}`);
  const admin = { kind: "tcp", host: "127.0.0.1", port } as const;
  const client = new ControlClient({ file, host: host ?? { admin, ...(shown !== undefined && { token: shown }) } });
  onTestFinished(() => client.close());
  return { bench, client, url };
}

async function listening(
  server: Server,
  listen: (server: Server) => void = () => server.listen(0, "127.0.0.1"),
): Promise<number> {
  listen(server);
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return typeof address === "string" ? 1 : (address as AddressInfo).port;
}

function tokenInFile(text = token): string {
  const path = join(temporaryDirectory(), "control-token");
  writeFileSync(path, text);
  return path;
}

async function closedPort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
