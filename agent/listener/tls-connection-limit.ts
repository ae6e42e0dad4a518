// OpenSSL keeps up to 66 KB for a connection, also while its handshake is half sent. So the connections need twice the memory of the
// buffer at most: 135 MB with the default, of the 512 MiB that the systemd unit allows.
const bufferBytesPerConnection = 32 * 1024;

/** The TLS connections, with unfinished handshakes, of a process that may hold `heldBytes` for its connections. */
export function tlsConnectionLimit(heldBytes: number): number {
  return Math.max(1, Math.floor(heldBytes / bufferBytesPerConnection));
}
