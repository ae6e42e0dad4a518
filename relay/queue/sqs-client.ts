import { SQSClient } from "@aws-sdk/client-sqs";
import { ServerClock } from "../aws/server-clock.ts";
import { regionOf } from "./sqs-url.ts";

const connectTimeoutMs = 2_000;
const maxAttempts = 2;
// A long poll holds a connection for 20 seconds. The polls of all queues together must leave some for other calls.
const maxSockets = 1_000;

interface SharedClient {
  readonly client: SQSClient;
  readonly clock: ServerClock;
  users: number;
}

const shared = new Map<string, SharedClient>();

export interface SqsLease extends Pick<SharedClient, "client" | "clock"> {
  readonly release: () => void;
}

/**
 * Leases the client that a process shares between all queues of an endpoint and region, with its connections and credentials.
 * The client closes its connections after the last release; a second release of the same lease does nothing.
 */
export function leaseSqsClient(queueUrl: URL): SqsLease {
  const key = `${queueUrl.origin} ${regionOf(queueUrl)}`;
  const entry = shared.get(key) ?? createClient(queueUrl);
  shared.set(key, entry);
  entry.users++;
  let released = false;
  const release = () => {
    if (released) return;
    released = true;
    if (--entry.users > 0) return;
    shared.delete(key);
    entry.client.destroy();
  };
  return { client: entry.client, clock: entry.clock, release };
}

function createClient(queueUrl: URL): SharedClient {
  const client = new SQSClient({
    region: regionOf(queueUrl),
    // The endpoint of the URL: it may be a FIPS, dual-stack or VPC endpoint, or an emulator.
    endpoint: queueUrl.origin,
    // TLS protects the transfer, and a CRC protects the pack. MD5 would add a fifth to the CPU time of a call.
    md5: false,
    retryMode: "standard",
    maxAttempts,
    requestHandler: { connectionTimeout: connectTimeoutMs, httpAgent: { maxSockets }, httpsAgent: { maxSockets } },
  });
  return { client, clock: new ServerClock(client), users: 0 };
}
