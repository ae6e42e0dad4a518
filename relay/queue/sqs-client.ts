import { SQSClient } from "@aws-sdk/client-sqs";
import { regionOf } from "./sqs-url.ts";

const connectTimeoutMs = 2_000;
const maxAttempts = 2;
// A long poll holds a connection for twenty seconds: those of all queues together must leave some for everything else.
const maxSockets = 1_000;

interface SharedClient {
  readonly client: SQSClient;
  users: number;
}

const shared = new Map<string, SharedClient>();

/**
 * The process's one client for all queues of an endpoint and a region: they share its connections and credentials. Its
 * connections end when all who have leased it have released it; a second release of the same lease does nothing.
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
    // Whatever the URL names: FIPS, dual-stack and VPC endpoints, or an emulator.
    endpoint: queueUrl.origin,
    // TLS guards the bytes on their way and a CRC the pack; MD5 on top costs a fifth of the CPU of a call.
    md5: false,
    retryMode: "standard",
    maxAttempts,
    requestHandler: { connectionTimeout: connectTimeoutMs, httpAgent: { maxSockets }, httpsAgent: { maxSockets } },
  });
}
