import { bin, headersBinary, notify, str } from "../support/spop/spop-frames.ts";

/** The NOTIFY of a browser's GET with the arguments of the example configuration; different for each `i`. */
export function typicalNotify(i: number): Buffer {
  const headers = [
    "host",
    "shop.example.com",
    "user-agent",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "accept",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language",
    "en-US,en;q=0.5",
    "accept-encoding",
    "gzip, deflate, br",
    "cookie",
    `session=${(i * 2_654_435_761).toString(16)}${(i * 40_503).toString(16)}; theme=dark`,
  ];
  return notify({
    streamId: i * 7 + 1,
    messages: [
      {
        args: [
          ["id", str(`0000${i}-4f81-88d0-816811a66a74`)],
          ["method", str("GET")],
          ["pathq", str(`/api/v1/items?page=${i % 97}&id=${(i * 40_503).toString(16)}`)],
          ["ver", str("1.1")],
          ["hdrs", bin(headersBinary(headers))],
          ["body", bin("")],
        ],
      },
    ],
  });
}
