interface Peer {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly destroyed: boolean;
}

/** The peer of a socket, for the log: its address and port, or "unix". */
export function peerOf({ remoteAddress, remotePort, destroyed }: Peer): string {
  if (remoteAddress !== undefined) return `${remoteAddress}:${remotePort}`;
  return destroyed ? "gone" : "unix";
}

/** Peers that share turns: all ports of an address. */
export function ownerOf(peer: string): string {
  return peer.replace(/:\d+$/, "");
}
