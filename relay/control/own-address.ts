import { lookup } from "node:dns/promises";
import { BlockList, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import { isLoopback } from "../config/forms.ts";

/** Whether a connection to `host`, a name or an address, stays on this machine. Rejects if the name has no address. */
export async function isOwnAddress(host: string): Promise<boolean> {
  if (isLoopback(host)) return true;
  const own = new BlockList();
  // A connection to these reaches a listener of this machine.
  const addresses = ["0.0.0.0", "::", ...Object.values(networkInterfaces()).flatMap((of = []) => of.map(toAddress))];
  for (const address of addresses) own.addAddress(address, familyOf(address));
  own.addSubnet("127.0.0.0", 8);
  const reached = (await lookup(host, { all: true })).map(toAddress);
  return reached.every((address) => own.check(address, familyOf(address)));
}

/** Without the zone of a link-local address, as in `fe80::1%eth0`. */
function toAddress({ address }: { readonly address: string }): string {
  return address.split("%")[0];
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIPv6(address) ? "ipv6" : "ipv4";
}
