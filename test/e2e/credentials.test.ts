import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { until } from "../support/clocks/until.ts";
import { packMessage, requests } from "../support/data/packs.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";
import { spoaRelay } from "../support/processes/command-line.ts";
import { HostProcess } from "../support/processes/host-process.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

const secret = "s3cr3t-of-the-client";
const token = "t0ken-of-the-shadow";
const captured = ["Authorization", "Bearer captured", "Cookie", "session=1"];

describe("credentials of a running host", () => {
  it("are fresh if the target has a token; stats show which targets answer 401 to captured ones", async () => {
    setVariable("SHADOW_SECRET", secret);
    const login = await ShadowServer.start(({ body }) =>
      body.toString() === `client_secret=${secret}`
        ? { status: 200, body: JSON.stringify({ access_token: token, expires_in: 60 }) }
        : { status: 401 },
    );
    const shadow = await ShadowServer.start(({ headers }) => ({
      status: headers.authorization === `Bearer ${token}` ? 200 : 401,
    }));
    const url = `url: "${shadow.url.origin}", rate: unlimited`;
    const host = await HostProcess.start({
      targets: {
        fresh: `${url}, token: { url: "${login.url.origin}/token", form: { client_secret: { env: SHADOW_SECRET } } }`,
        stale: url,
      },
    });
    const anonymous = requests(5, { headers: ["accept", "*/*"] });
    await host.ingress.send([packMessage({ requests: [...requests(30, { headers: captured }), ...anonymous] })]);
    let stats = "";
    await until(async () => {
      ({ stdout: stats } = await host.command("stats"));
      return /^fresh .* 35 \(/m.test(stats) && /^stale .* 35 \(/m.test(stats);
    });
    const shown = await Promise.all(
      ["/stats", "/metrics", "/v1/targets", "/v1/targets/fresh/figures"].map(async (path) =>
        (await host.fetch(path)).text(),
      ),
    );

    expect(stats).toMatch(/^stale: 30 of 35 answers with 4xx are 401 or 403 for captured credentials; /m);
    expect(stats).toMatch(/^fresh: 5 answered requests were sent without its credentials, /m);
    expect(stats).not.toMatch(/^fresh: .* captured credentials/m);
    expect(shadow.received.filter(({ headers }) => headers.authorization === undefined)).toHaveLength(10);
    expect(host.output).toContain(
      '"for":"captured","msg":"token: only on requests that carried credentials of their own; ',
    );
    expect((await host.command("targets", "list")).stdout).toContain("fresh: its token or signature is for requests");
    expect(login.received).toHaveLength(1);
    for (const text of [stats, ...shown, host.output]) {
      expect(text).not.toContain(secret);
      expect(text).not.toContain(token);
    }
  }, 60_000);

  it("are checked before the host starts if they come from environment variables", async () => {
    setVariable("SHADOW_SECRET", undefined);
    const file = join(temporaryDirectory(), "spoa-relay.yaml");
    const target = `{ url: "http://127.0.0.1:1", rate: 1/s, headers: { set: { x-key: { env: SHADOW_SECRET } } } }`;
    writeFileSync(file, `queue: embedded:./data\ntargets:\n  staging: ${target}\n`);
    const results = await Promise.all([
      spoaRelay("host", "--config", file),
      spoaRelay("config", "check", "--config", file),
    ]);

    for (const { code, stderr } of results) {
      expect(code).toBe(2);
      expect(stderr).toMatch(
        /:3: targets\.staging\.headers\.set\.x-key: the environment variable SHADOW_SECRET is not set/,
      );
    }
  }, 60_000);
});

function setVariable(name: string, value: string | undefined): void {
  vi.stubEnv(name, value);
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
}
