import { once } from "node:events";
import { createServer } from "node:net";

// Below the ephemeral ports (32768 and up on Linux): otherwise a connection of another test could take a port between our
// check and its use. Each worker of the test runner has a range of its own.
const rangePorts = 5_000;
const firstPort = 20_000 + (Number(process.env.VITEST_POOL_ID ?? 1) % 2) * rangePorts;

let next = firstPort + Math.floor(Math.random() * rangePorts);

/** Consecutive ports on 127.0.0.1 that are free at the moment. */
export async function freePorts(count: number): Promise<number[]> {
  for (;;) {
    if (next + count > firstPort + rangePorts) next = firstPort;
    const ports = Array.from({ length: count }, (_, i) => next + i);
    next += count;
    if (await areFree(ports)) return ports;
  }
}

async function areFree(ports: readonly number[]): Promise<boolean> {
  for (const port of ports) {
    const server = createServer();
    server.listen(port, "127.0.0.1");
    const free = await once(server, "listening").then(
      () => true,
      () => false,
    );
    server.close();
    if (!free) return false;
    await once(server, "close");
  }
  return true;
}
