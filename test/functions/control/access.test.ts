import { describe, expect, it } from "vitest";
import { toAccess } from "../../../functions/control/access.ts";
import { ControlBench } from "../../support/benches/control-bench.ts";

const token = "correct-horse-battery";
const paths = ["/v1/targets", "/v1/ledger", "/stats", "/metrics", "/openapi.json", "/nothing/here"];

describe("the control API with a token", () => {
  const bench = () => new ControlBench({ access: { kind: "token", token } });

  it.each(paths)("answers who shows it, and refuses all others: %s", async (path) => {
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

  it.each([`bearer ${token}`, `Bearer  ${token}`])("takes the scheme in any case: %s", async (authorization) => {
    expect((await bench().get("/v1/targets", { authorization })).status).toBe(200);
  });

  it.each(["", token, "Bearer", "Bearer ", `Basic ${token}`, `Bearer ${token.slice(1)}`, `Bearer ${token} ${token}`])(
    "refuses anything else: %s",
    async (authorization) => {
      expect((await bench().get("/v1/targets", { authorization })).status).toBe(401);
    },
  );

  it.each(["/healthz", "/readyz", "/v1/health"])("needs none where health is asked for: %s", async (path) => {
    expect((await bench().get(path)).status).toBe(200);
  });

  it("changes nothing without it", async () => {
    const refused = bench();
    expect((await refused.send("POST", "/v1/targets/staging/pause")).status).toBe(401);
    expect((await refused.state.controls.read("staging")).version).toBe(0);
  });

  it("may be asked under any name", async () => {
    const headers = { host: "relay.example:12347", authorization: `Bearer ${token}` };
    expect((await bench().get("/v1/targets", headers)).status).toBe(200);
  });
});

describe("the control API without a token", () => {
  it.each(["localhost:12347", "127.0.0.1:12347", "[::1]:12347", "127.0.0.1", "LOCALHOST"])(
    "answers who asks for this machine: %s",
    async (host) => {
      expect((await new ControlBench().get("/v1/targets", { host })).status).toBe(200);
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
  ])("refuses whoever came here under another name: %s", async (host) => {
    const { status, json } = await new ControlBench().get("/v1/targets", { host });

    expect([status, json.detail]).toEqual([403, `this API is at localhost; it is not ${host}`]);
  });

  it("is asked for its health under any name", async () => {
    expect((await new ControlBench().get("/readyz", { host: "10.0.0.5" })).status).toBe(200);
  });
});

describe("the control API and web pages", () => {
  const host = "127.0.0.1:12347";

  it.each(["http://evil.example", "http://127.0.0.1:8080", "null", "http://localhost:12347", "file://"])(
    "refuses those of another origin: %s",
    async (origin) => {
      const { status, type, json } = await new ControlBench().get("/v1/targets", { host, origin });

      expect([status, type]).toEqual([403, "application/problem+json"]);
      expect(json.detail).toBe(`pages of ${origin} must not use this API`);
    },
  );

  it("answers those of its own", async () => {
    expect((await new ControlBench().get("/v1/targets", { host, origin: `http://${host}` })).status).toBe(200);
  });

  it("refuses them whatever token they show", async () => {
    const bench = new ControlBench({ access: { kind: "token", token } });
    const headers = { host, origin: "http://evil.example", authorization: `Bearer ${token}` };

    expect((await bench.get("/v1/targets", headers)).status).toBe(403);
  });
});

describe("toAccess", () => {
  const tcp = { kind: "tcp", host: "127.0.0.1", port: 1 } as const;
  const unix = { kind: "unix", path: "/run/x.sock" } as const;

  it.each([
    ["the token where there is one", { admin: tcp, token }, { kind: "token", token }],
    ["the token on a unix socket, too", { admin: unix, token }, { kind: "token", token }],
    ["this machine without one", { admin: tcp }, { kind: "loopback" }],
    ["whoever may open a unix socket", { admin: unix }, { kind: "checked" }],
  ])("asks for %s", (_, host, access) => {
    expect(toAccess(host)).toEqual(access);
  });

  it("lets the socket ask under any name", async () => {
    expect((await new ControlBench({ access: { kind: "checked" } }).get("/stats", { host: "x" })).status).toBe(200);
  });
});

function bound(bench: ControlBench) {
  return { get: (path: string, headers?: Readonly<Record<string, string>>) => bench.get(path, headers) };
}
