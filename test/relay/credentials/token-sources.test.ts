import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runTokenCommand } from "../../../relay/credentials/command-token.ts";
import { askTokenEndpoint } from "../../../relay/credentials/token-endpoint.ts";
import { until } from "../../support/clocks/until.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";
import { ShadowServer } from "../../support/servers/shadow-server.ts";

describe("runTokenCommand", () => {
  it("passes arguments without a shell, and reads only standard output", async () => {
    const script = "process.stdin.resume().on('end', () => { console.log(process.argv[1]); console.error('x'); })";

    expect(await runTokenCommand([process.execPath, "-e", script, "a b;$(c)"])).toBe("a b;$(c)\n");
  });

  it.each([
    [
      "exits with an error",
      "console.log('secret'); console.error('secret'); process.exit(3)",
      "node exited with code 3",
    ],
    ["prints too much", "console.log('secret'.repeat(100000))", "node printed more than 64 KiB"],
    ["is killed", "process.kill(process.pid, 'SIGTERM')", "node was killed by SIGTERM"],
  ])("reports a program that %s, without its arguments and output", async (_case, script, mistake) => {
    const error = await runTokenCommand([process.execPath, "-e", script, "secret"]).catch((reason: Error) => reason);

    expect((error as Error).message).toBe(mistake);
  });

  it("kills a program that runs too long, and its children", async () => {
    const started = join(temporaryDirectory(), "pid");
    const script = `sleep 60 & echo $! > ${started}; wait`;
    // Long enough for the shell to start, also on a busy machine.
    const asked = runTokenCommand(["/bin/sh", "-c", script], 2_500);

    await expect(asked).rejects.toThrow(/^sh did not exit within 2.5 s$/);
    const pid = Number(readFileSync(started, "utf8"));
    await until(() => !isRunning(pid));
  });

  it("reports a program that does not exist", async () => {
    await expect(runTokenCommand(["/nowhere/token", "secret"])).rejects.toThrow(/^token cannot be started: ENOENT$/);
  });
});

/** A killed process may remain as a zombie until its parent reaps it: that counts as ended. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

describe("askTokenEndpoint", () => {
  const fields = { grant_type: "client_credentials", client_id: "relay", client_secret: "p&ss wörd" };

  it("posts a form", async () => {
    const server = await ShadowServer.start(() => ({ status: 200, body: "abc" }));
    const url = new URL("/token?tenant=1", server.url);

    expect(await askTokenEndpoint({ kind: "url", url, headers: {}, body: { type: "form", fields } })).toBe("abc");
    const [{ method, path, headers, body }] = server.received;
    expect([method, path]).toEqual(["POST", "/token?tenant=1"]);
    expect(headers["content-type"]).toBe("application/x-www-form-urlencoded");
    expect(Object.fromEntries(new URLSearchParams(body.toString()))).toEqual(fields);
  });

  it("posts JSON with the configured headers", async () => {
    const server = await ShadowServer.start(() => ({ status: 201, body: "{}" }));
    const headers = { "x-tenant": "t" };

    expect(await askTokenEndpoint({ kind: "url", url: server.url, headers, body: { type: "json", fields } })).toBe(
      "{}",
    );
    expect(server.received[0].headers).toMatchObject({ "content-type": "application/json", "x-tenant": "t" });
    expect(JSON.parse(server.received[0].body.toString())).toEqual(fields);
  });

  it("sends GET if there is no body", async () => {
    const server = await ShadowServer.start(() => ({ status: 200, body: "abc" }));
    await askTokenEndpoint({ kind: "url", url: server.url, headers: {} });

    expect(server.received[0]).toMatchObject({ method: "GET", body: Buffer.alloc(0) });
  });

  it.each([
    ["an OAuth 2 error", 401, '{"error":"invalid_client","error_description":"secret"}', "401 (invalid_client)"],
    ["another error", 500, "secret", "500"],
    ["a redirect, which is not followed", 302, "secret", "302"],
    ["a response that is too large", 200, "secret".repeat(20_000), "more than 64 KiB"],
  ])("reports %s, without quoting request or response", async (_case, status, body, mistake) => {
    const server = await ShadowServer.start(() => ({ status, body, headers: { location: "/elsewhere" } }));
    const url = new URL("/token?key=secret", server.url);
    const asked = askTokenEndpoint({ kind: "url", url, headers: { authorization: "secret" } });

    await expect(asked).rejects.toMatchObject({ message: `${server.url.origin}/token answers ${mistake}` });
    expect(server.paths).toEqual(["/token?key=secret"]);
  });

  it("reports an endpoint that does not answer", async () => {
    const server = await ShadowServer.start();
    const { url } = server;
    await server.close();

    await expect(askTokenEndpoint({ kind: "url", url, headers: {} })).rejects.toMatchObject({
      message: `${url.origin}/ does not answer: ECONNREFUSED`,
    });
  });
});
