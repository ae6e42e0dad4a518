import { isIPv4, isIPv6 } from "node:net";

/** Addresses that share their first `prefixBits` bits: `10.0.0.0/8` has 8, the single address `2001:db8::1` has 128. */
export interface AddressRange {
  readonly address: string;
  readonly prefixBits: number;
  readonly family: "ipv4" | "ipv6";
}

const mappedPrefix = /^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i;
const mappedBits = 96;

/** Parses an address or a CIDR; undefined for anything else. An IPv4-mapped `::ffff:10.0.0.0/104` becomes `10.0.0.0/8`. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const match = /^([0-9a-fA-F.:]+)(?:\/(\d{1,3}))?$/.exec(text);
  if (!match) return undefined;
  const [, address, prefix] = match;
  const mapped = mappedPrefix.test(address);
  const plain = address.replace(mappedPrefix, "");
  if (isIPv4(plain)) {
    const prefixBits = prefix === undefined ? 32 : Number(prefix) - (mapped ? mappedBits : 0);
    return prefixBits >= 0 && prefixBits <= 32 ? { address: plain, prefixBits, family: "ipv4" } : undefined;
  }
  const prefixBits = Number(prefix ?? 128);
  return isIPv6(address) && prefixBits <= 128 ? { address, prefixBits, family: "ipv6" } : undefined;
}
