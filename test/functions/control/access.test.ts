import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Access, toAccess } from "../../../functions/control/access.ts";
import { QueueError } from "../../../relay/queue/port.ts";
import { ControlBench } from "../../support/benches/control-bench.ts";
import { packMessage, requests } from "../../support/data/packs.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const token = "correct-horse-battery";
const paths = ["/v1/targets", "/v1/ledger", "/stats", "/metrics", "/openapi.json", "/nothing/here"];

describe("the control API with a token", () => {
  const bench = () => new ControlBench({ access: { kind: "token", token } });

  it.each(paths)("answers calls that have it, and refuses all others: %s", async (path) => {
    const { get } = bound(bench());
    const [without, wrong, right] = [
      await get(path),
      await get(path, { authorization: `Bearer ${token}x` }),
      await get(path, { authorization: `Bearer ${token}` }),
    ];

    for (const refused of [without, wrong]) {
      expect([refused.status, refused.type]).toEqual([401, "application/problem+json"]);
      expect(refused.headers.get("www-authenticate")).toBe('Bearer realm="spoa-relay"');
      expect(refused.json.detail).toContain("host.token");
    }
    expect(right.status).toBe(path === "/nothing/here" ? 404 : 200);
  });

  it.each([`bearer ${token}`, `Bearer  ${token}`])(
    "accepts the scheme in upper or lower case: %s",
    async (authorization) => {
      expect((await bench().get("/v1/targets", { authorization })).status).toBe(200);
    },
  );

  it.each(["", token, "Bearer", "Bearer ", `Basic ${token}`, `Bearer ${token.slice(1)}`, `Bearer ${token} ${token}`])(
    "refuses anything else: %s",
    async (authorization) => {
      expect((await bench().get("/v1/targets", { authorization })).status).toBe(401);
    },
  );

  it("refuses each part of the token, and whatever is longer", async () => {
    const { get } = bound(bench());
    const parts = Array.from(token, (_, i) => token.slice(0, i)).slice(1);
    const ends = parts.map((part) => token.slice(part.length));
    for (const shown of [...parts, ...ends, `${token}${token}`, `x${token}`, token.toUpperCase()]) {
      expect([shown, (await get("/v1/targets", { authorization: `Bearer ${shown}` })).status]).toEqual([shown, 401]);
    }
  });

  it.each(["/healthz", "/readyz", "/v1/health"])("needs no token for health checks: %s", async (path) => {
    expect((await bench().get(path)).status).toBe(200);
  });

  it("changes nothing without the token", async () => {
    const refused = bench();
    expect((await refused.send("POST", "/v1/targets/staging/pause")).status).toBe(401);
    expect((await refused.state.controls.read("staging")).version).toBe(0);
  });

  it("may be called under any host name", async () => {
    const headers = { host: "relay.example:12347", authorization: `Bearer ${token}` };
    expect((await bench().get("/v1/targets", headers)).status).toBe(200);
  });
});

describe("the control API on a loopback address, with a token in a file", () => {
  const host = "127.0.0.1:12347";
  const authorization = `Bearer ${token}`;
  const local = () => new ControlBench({ access: { kind: "local", token } });
  const open = [
    "/v1/targets",
    "/v1/targets/staging",
    "/v1/targets/staging/figures",
    "/v1/ledger",
    "/stats",
    "/metrics",
  ];

  it.each([...open, "/warnings", "/openapi.json", "/healthz", "/readyz", "/v1/health"])(
    "shows figures to every local program, in both methods that read: %s",
    async (path) => {
      const bench = local();

      expect((await bench.get(path, { host })).status).toBe(200);
      expect((await bench.app.request(path, { method: "HEAD", headers: { host } })).status).toBe(200);
    },
  );

  it("shows no request without the token, and changes nothing", async () => {
    const bench = local();
    await bench.queue.deadLetters.send([packMessage({ requests: requests(1) })]);
    const routes = bench.app.routes.filter(({ method, path }) => method !== "ALL" && !isOpen(method, path));
    const refused = routes.map(async ({ method, path }) => {
      const filled = path.replace(":target", "staging").replace(":queue", "staging").replace(":id", "1");
      const call = (headers: Readonly<Record<string, string>>) =>
        bench.app.request(filled, { method, headers: { host, ...headers } });
      return [method, path, (await call({})).status, (await call({ authorization: `Bearer ${token}x` })).status];
    });

    expect(routes.map(({ path }) => path)).toContain("/v1/queues/:queue/dead-letters/:id");
    expect(await Promise.all(refused)).toEqual(routes.map(({ method, path }) => [method, path, 401, 401]));
    expect((await bench.state.controls.read("staging")).version).toBe(0);
    expect((await bench.get("/v1/queues/staging/dead-letters", { host, authorization })).status).toBe(200);
  });

  it.each([
    "/v1/targets/",
    "/V1/targets",
    "//v1/targets",
    "/v1/targets/staging/pause",
    "/v1/queues/metrics",
    "/nothing/here",
  ])("asks for the token on every other path: %s", async (path) => {
    expect((await local().get(path, { host })).status).toBe(401);
  });

  function isOpen(method: string, path: string): boolean {
    return method === "GET" && !path.startsWith("/v1/queues/");
  }
});

describe("the control API without a token", () => {
  it.each(["localhost:12347", "127.0.0.1:12347", "[::1]:12347", "127.0.0.1", "LOCALHOST"])(
    "answers calls to this machine: %s",
    async (host) => {
      expect((await new ControlBench({ access: { kind: "local", token } }).get("/v1/targets", { host })).status).toBe(
        200,
      );
    },
  );

  it.each([
    "evil.example:12347",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "10.0.0.5",
    "a b",
    "",
    "@localhost:x",
  ])("refuses calls to another host name: %s", async (host) => {
    const { status, json } = await new ControlBench({ access: { kind: "local", token } }).get("/v1/targets", { host });

    expect([status, json.detail]).toEqual([
      403,
      `without host.token this API can only be called as localhost, not as ${host}`,
    ]);
  });

  it("answers health checks under any host name", async () => {
    expect(
      (await new ControlBench({ access: { kind: "local", token } }).get("/readyz", { host: "10.0.0.5" })).status,
    ).toBe(200);
  });
});

describe("the control API and web pages", () => {
  const host = "127.0.0.1:12347";

  it.each(["http://evil.example", "http://127.0.0.1:8080", "null", "http://localhost:12347", "file://"])(
    "refuses pages of another origin: %s",
    async (origin) => {
      const { status, type, json } = await new ControlBench({ access: { kind: "local", token } }).get("/v1/targets", {
        host,
        origin,
      });

      expect([status, type]).toEqual([403, "application/problem+json"]);
      expect(json.detail).toBe(`web pages of ${origin} are not allowed to call this API`);
    },
  );

  it("answers pages of its own origin", async () => {
    expect(
      (
        await new ControlBench({ access: { kind: "local", token } }).get("/v1/targets", {
          host,
          origin: `http://${host}`,
        })
      ).status,
    ).toBe(200);
  });

  it("refuses pages of another origin even with the token", async () => {
    const bench = new ControlBench({ access: { kind: "token", token } });
    const headers = { host, origin: "http://evil.example", authorization: `Bearer ${token}` };

    expect((await bench.get("/v1/targets", headers)).status).toBe(403);
  });
});

describe("health checks of web pages", () => {
  const hostOnly = "127.0.0.1:12347";
  const failing = (access: Access) =>
    new ControlBench({
      access,
      faultyQueue: () => ({ backlog: () => Promise.reject(new QueueError("UNAVAILABLE", "no queue relay-7")) }),
    });

  it.each([
    ["/readyz", "not ready\n"],
    ["/v1/health", '{"ready":false}'],
  ])("say that the host is not ready, without the reason: %s", async (path, body) => {
    const { app } = failing({ kind: "local", token });
    const call = async (headers: Readonly<Record<string, string>>) => {
      const response = await app.request(path, { headers });
      return [response.status, await response.text()];
    };

    expect(await call({ host: hostOnly })).toEqual([503, expect.stringContaining("no queue relay-7")]);
    expect(await call({ host: hostOnly, origin: "http://evil.example" })).toEqual([503, body]);
    expect(await call({ host: "evil.example:12347" })).toEqual([503, body]);
  });

  it("have the reason under any host name if the host has its own token, but not for other origins", async () => {
    const { app } = failing({ kind: "token", token });
    const reasonOf = async (headers: Readonly<Record<string, string>>) =>
      (await app.request("/readyz", { headers })).text();

    expect(await reasonOf({ host: "relay.example" })).toContain("no queue relay-7");
    expect(await reasonOf({ host: "relay.example", origin: "http://evil.example" })).toBe("not ready\n");
  });

  it("are still told which methods there are", async () => {
    const { app } = failing({ kind: "local", token });

    expect((await app.request("/readyz", { method: "POST", headers: { host: "evil.example" } })).status).toBe(405);
  });
});

describe("toAccess", () => {
  const tcp = { kind: "tcp", host: "127.0.0.1", port: 1 } as const;
  const unix = { kind: "unix", path: "/run/x.sock" } as const;

  it.each([
    ["the token if there is one", { admin: tcp, token }, { kind: "token", token }],
    ["the token on a unix socket as well", { admin: unix, token }, { kind: "token", token }],
    ["no more than the right to open a unix socket", { admin: unix }, { kind: "checked" }],
  ])("asks for %s", (_, host, access) => {
    expect(toAccess(host, expect.unreachable)).toEqual(access);
  });

  it.each([
    ["local", tcp],
    ["token", { kind: "tcp", host: "0.0.0.0", port: 1 } as const],
  ])("asks for the token in a file that it creates: %s", (kind, admin) => {
    const tokenFile = join(temporaryDirectory(), "data", "control-token");
    const access = toAccess({ admin, tokenFile }, expect.unreachable);

    expect(access).toEqual({ kind, token: readFileSync(tokenFile, "utf8").trim() });
    expect(toAccess({ admin, tokenFile }, expect.unreachable)).toEqual(access);
  });

  it("asks for a token that nobody has if the file cannot be used", () => {
    const tokenFile = join(temporaryDirectory(), "control-token");
    writeFileSync(tokenFile, token, { mode: 0o644 });
    const reasons: string[] = [];
    const allAnswered: string[] = [];
    const accesses = [tcp, tcp, { ...tcp, host: "10.0.0.5" }].map((admin) =>
      toAccess({ admin, tokenFile }, (reason, answered) => {
        reasons.push(reason);
        allAnswered.push(answered);
      }),
    );

    expect(reasons[0]).toBe(
      `other users of this machine may use ${tokenFile}: take this away with chmod o= ${tokenFile}`,
    );
    expect(accesses.map(({ kind }) => kind)).toEqual(["local", "local", "token"]);
    expect(allAnswered).toEqual(["figures and health checks", "figures and health checks", "health checks"]);
    expect(new Set([token, ...accesses.map((access) => "token" in access && access.token)]).size).toBe(4);
  });

  it("allows any host name over a unix socket", async () => {
    expect((await new ControlBench({ access: { kind: "checked" } }).get("/stats", { host: "x" })).status).toBe(200);
  });
});

function bound(bench: ControlBench) {
  return { get: (path: string, headers?: Readonly<Record<string, string>>) => bench.get(path, headers) };
}
