import { SQSClient } from "@aws-sdk/client-sqs";
import { regionOf } from "./sqs-url.ts";

const connectTimeoutMs = 2_000;
const maxAttempts = 2;
// A long poll holds a connection for 20 seconds. The polls of all queues together must leave some for other calls.
const maxSockets = 1_000;

interface SharedClient {
  readonly client: SQSClient;
  users: number;
}

const shared = new Map<string, SharedClient>();

/**
 * Leases the client that a process shares between all queues of an endpoint and region, with its connections and credentials.
 * The client closes its connections after the last release; a second release of the same lease does nothing.
 */
export function leaseSqsClient(queueUrl: URL): { readonly client: SQSClient; readonly release: () => void } {
  const key = `${queueUrl.origin} ${regionOf(queueUrl)}`;
  const entry = shared.get(key) ?? { client: createClient(queueUrl), users: 0 };
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
  return { client: entry.client, release };
}

function createClient(queueUrl: URL): SQSClient {
  return new SQSClient({
    region: regionOf(queueUrl),
    // The endpoint of the URL: it may be a FIPS, dual-stack or VPC endpoint, or an emulator.
    endpoint: queueUrl.origin,
    // TLS protects the transfer, and a CRC protects the pack. MD5 would add a fifth to the CPU time of a call.
    md5: false,
    retryMode: "standard",
    maxAttempts,
    requestHandler: { connectionTimeout: connectTimeoutMs, httpAgent: { maxSockets }, httpsAgent: { maxSockets } },
  });
}
