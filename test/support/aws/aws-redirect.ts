import { createRequire } from "node:module";
import type { ConnectionOptions } from "node:tls";

// Load this before a program (NODE_OPTIONS=--import): it sends all calls to AWS hosts to the `AwsGateway` at the port
// AWS_GATEWAY_PORT, with the same host name and TLS. Nothing leaves the machine.

// Changes the module object itself: node:https reads `connect` from it for each connection.
const tls = createRequire(import.meta.url)("node:tls") as { connect: (options: ConnectionOptions) => unknown };
const { connect } = tls;

tls.connect = (options) => {
  const { host = "" } = options;
  if (!/\.(?:amazonaws\.com|on\.aws)$/.test(host)) return connect(options);
  return connect({ ...options, host: "127.0.0.1", port: Number(process.env.AWS_GATEWAY_PORT), servername: host });
};
