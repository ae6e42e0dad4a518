import { createRequire } from "node:module";
import type { ConnectionOptions } from "node:tls";

// To be loaded before a program (NODE_OPTIONS=--import): whatever it asks of a host of AWS goes to the `AwsGateway` at the
// port AWS_GATEWAY_PORT, under the same name and with TLS. Nothing leaves the machine.

// The module object itself: node:https looks `connect` up in it for each connection.
const tls = createRequire(import.meta.url)("node:tls") as { connect: (options: ConnectionOptions) => unknown };
const { connect } = tls;

tls.connect = (options) => {
  const { host = "" } = options;
  if (!/\.(?:amazonaws\.com|on\.aws)$/.test(host)) return connect(options);
  return connect({ ...options, host: "127.0.0.1", port: Number(process.env.AWS_GATEWAY_PORT), servername: host });
};
