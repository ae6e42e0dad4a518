import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { buildConnector } from "undici";
import type { TargetConfig } from "../config/config.ts";

/** Opens a connection to the origin of one target, whose name is looked up anew each time. */
export type Connect = ReturnType<typeof buildConnector>;

/** Throws if the target's CA file cannot be read. */
export function createConnector(target: TargetConfig): Connect {
  const { protocol, timeoutMs } = target;
  const { ca, verify, serverName } = target.tls;
  const { hostname } = target.url;
  // Empty for an IP address: then the certificate must name the address.
  const servername = serverName ?? (isIP(hostname.replace(/^\[|\]$/g, "")) === 0 ? hostname : "");
  const connect = buildConnector({
    timeout: timeoutMs,
    allowH2: protocol !== "http1",
    preferH2: protocol !== "http1",
    rejectUnauthorized: verify,
    ...(ca !== undefined && { ca: readFileSync(ca) }),
  });
  return (options, callback) =>
    connect({ ...options, servername }, (...[error, socket]) => {
      if (error) return callback(error, null);
      // undici speaks the protocol that this property names. Without TLS, both sides have to know it beforehand.
      if (protocol === "h2c") Object.assign(socket, { alpnProtocol: "h2" });
      if (protocol !== "h2" || isHttp2(socket)) return callback(null, socket);
      socket.destroy();
      callback(new Error("the shadow does not offer HTTP/2 in TLS (ALPN): set protocol to http1 or auto"), null);
    });
}

/** Whether HTTP/2 is spoken on an open connection. */
export function isHttp2(socket: object): boolean {
  return "alpnProtocol" in socket && socket.alpnProtocol === "h2";
}
