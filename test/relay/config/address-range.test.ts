import { expect, it } from "vitest";
import { parseAddressRange } from "../../../relay/config/address-range.ts";

it.each([
  ["10.0.0.0/8", { address: "10.0.0.0", prefixBits: 8, family: "ipv4" }],
  ["192.0.2.7", { address: "192.0.2.7", prefixBits: 32, family: "ipv4" }],
  ["0.0.0.0/0", { address: "0.0.0.0", prefixBits: 0, family: "ipv4" }],
  ["2001:db8::/32", { address: "2001:db8::", prefixBits: 32, family: "ipv6" }],
  ["::1", { address: "::1", prefixBits: 128, family: "ipv6" }],
  ["::ffff:192.0.2.7", { address: "192.0.2.7", prefixBits: 32, family: "ipv4" }],
  ["::FFFF:10.0.0.0/104", { address: "10.0.0.0", prefixBits: 8, family: "ipv4" }],
])("reads %s", (text, range) => {
  expect(parseAddressRange(text)).toEqual(range);
});

it.each([
  "10.0.0.0/33",
  "10.0.0",
  "::1/129",
  "::ffff:10.0.0.0/95",
  "localhost",
  "10.0.0.1-10.0.0.9",
  "",
  "/8",
  "1.2.3.4/",
])("refuses %j", (text) => {
  expect(parseAddressRange(text)).toBeUndefined();
});
