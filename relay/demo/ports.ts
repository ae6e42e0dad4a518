import { once } from "node:events";
import { createServer } from "node:net";

/** Ports of the parts of the demo, all on 127.0.0.1. */
export interface DemoPorts {
  readonly frontend: number;
  readonly stats: number;
  readonly primary: number;
  readonly shadow: number;
  readonly paced: number;
  readonly agent: number;
  readonly agentAdmin: number;
  readonly hostAdmin: number;
}

const defaultPorts: DemoPorts = {
  frontend: 10005,
  stats: 9998,
  primary: 8081,
  shadow: 8082,
  paced: 8083,
  agent: 12345,
  agentAdmin: 12346,
  hostAdmin: 12347,
};

/** The default ports, or eight in a row that start at `base`. */
export function demoPorts(base: number | undefined): DemoPorts {
  if (base === undefined) return defaultPorts;
  return {
    frontend: base,
    stats: base + 1,
    primary: base + 2,
    shadow: base + 3,
    paced: base + 4,
    agent: base + 5,
    agentAdmin: base + 6,
    hostAdmin: base + 7,
  };
}

/** Throws an error that names the first port that is taken and says how to choose others. */
export async function assertPortsFree(ports: DemoPorts): Promise<void> {
  for (const [part, port] of Object.entries(ports)) {
    const probe = createServer();
    probe.listen(port, "127.0.0.1");
    try {
      await once(probe, "listening");
    } catch (error) {
      throw new Error(
        `port ${port} (${part}) is taken: ${(error as Error).message}; choose eight other ports with --ports 20000`,
      );
    }
    probe.close();
    await once(probe, "close");
  }
}
