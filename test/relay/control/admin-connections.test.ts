import { once } from "node:events";
import { createServer, request } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { adminServerOptions, limitConnections } from "../../../relay/control/admin-connections.ts";
import { until } from "../../support/clocks/until.ts";

const most = 8;
const halfHead = "GET /stats HTTP/1.1\r\nhost: localhost\r\n";
const halfBody = "POST /stats HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nhalf";
// More than the buffers of the system hold.
const endless = Buffer.alloc(32 * 1024 * 1024);
const unread = "GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n";

describe("the connections of an admin address", () => {
  it.each([
    ["nothing", ""],
    ["half the head of a request", halfHead],
    ["half the body of a request", halfBody],
    ["a request whose answer they do not read", unread],
  ])("leave room for the next caller if many others send %s", async (_, text) => {
    const { server, port } = await serve();
    await open(port, 5 * most, text);

    for (let calls = 0; calls < 3; calls++) expect(await statusOf(port)).toBe(200);
    await until(async () => (await countOf(server)) <= most);
  });

  it("replace the connection that has waited longest", async () => {
    const { port } = await serve();
    const [first, second] = [...(await open(port, 1, halfHead)), ...(await open(port, 1, halfHead))];
    // A whole request, so that it is the one that was active last.
    const answered = once(first, "data");
    first.write("\r\n");
    await answered;
    await open(port, most - 1, halfHead);
    await until(() => second.destroyed);

    expect(first.destroyed).toBe(false);
  });

  it("are not cut off while the server works on their requests", async () => {
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { port, arrived } = await serve(() => gate);
    const pending = Array.from({ length: most }, () => statusOf(port));
    await until(() => arrived() === most);
    // All connections are busy: this one is refused.
    await expect(statusOf(port)).rejects.toThrow();
    release();

    expect(await Promise.all(pending)).toEqual(pending.map(() => 200));
  });

  it("are closed by Node if a request is not whole in time", async () => {
    const hurried = {
      ...adminServerOptions,
      headersTimeout: 100,
      requestTimeout: 200,
      connectionsCheckingInterval: 20,
    };
    const { port } = await serve(undefined, hurried);
    const sockets = [...(await open(port, 1, halfHead)), ...(await open(port, 1, halfBody))];
    await until(() => sockets.every(({ destroyed }) => destroyed));

    expect(adminServerOptions.headersTimeout).toBe(5_000);
    expect(adminServerOptions.requestTimeout).toBe(10_000);
    expect(adminServerOptions.connectionsCheckingInterval).toBe(1_000);
  });
});

async function serve(work: () => Promise<void> = async () => {}, options = adminServerOptions) {
  let arrived = 0;
  const server = createServer(options, (incoming, response) => {
    arrived++;
    incoming.resume().once("end", async () => {
      await work();
      response.end(incoming.url === "/endless" ? endless : "ok");
    });
  });
  limitConnections(server, most);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { server, port: (server.address() as AddressInfo).port, arrived: () => arrived };
}

/** Opens connections one after the other, and writes `text` to each. */
async function open(port: number, count: number, text: string): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (let opened = 0; opened < count; opened++) {
    const socket = connect(port, "127.0.0.1").on("error", () => {});
    onTestFinished(() => {
      socket.destroy();
    });
    if (text !== unread) socket.resume();
    await once(socket, "connect");
    if (text !== "") socket.write(text);
    sockets.push(socket);
  }
  return sockets;
}

function statusOf(port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request({ port, path: "/stats", agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.once("error", reject).end();
  });
}

function countOf(server: ReturnType<typeof createServer>): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
  });
}
