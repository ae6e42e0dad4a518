// "GET ", "POST", … as the four bytes that SPOP would take for a frame length of a gigabyte.
const httpMethods = ["GET ", "POST", "PUT ", "HEAD", "OPTI", "DELE", "PATC", "CONN", "TRAC", "PRI "];

/**
 * What a peer speaks whose first four bytes, read as the length of a HELLO, are far too large: the text for the operator,
 * or undefined where it is nothing known.
 */
export function helloMistake(announcedBytes: number): string | undefined {
  if (announcedBytes >>> 16 === 0x1603) {
    return "this is a TLS ClientHello, and the agent listens without TLS: remove ssl from the server line in HAProxy, or set agent.tls";
  }
  const first = Buffer.alloc(4);
  first.writeUInt32BE(announcedBytes);
  const text = first.toString("latin1");
  if (httpMethods.includes(text)) {
    return "this is an HTTP request, and the agent speaks SPOP: the back end in HAProxy needs mode tcp (or mode spop) and is used through filter spoe only";
  }
  if (text === "PROX" || text === "\r\n\r\n") {
    return "this is a PROXY protocol header: remove send-proxy from the server line in HAProxy";
  }
  return undefined;
}
