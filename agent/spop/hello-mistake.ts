// "GET ", "POST", … as the four bytes that SPOP would take for a frame length of a gigabyte.
const httpMethods = ["GET ", "POST", "PUT ", "HEAD", "OPTI", "DELE", "PATC", "CONN", "TRAC", "PRI "];

/**
 * What a peer speaks whose first bytes cannot be a HELLO: the text for the operator, or undefined where they could.
 * Needs four bytes to tell.
 */
export function helloMistake(firstBytes: Uint8Array): string | undefined {
  if (firstBytes.length < 4) return undefined;
  if (firstBytes[0] === 0x16 && firstBytes[1] === 0x03) {
    return "this is a TLS ClientHello, and the agent listens without TLS: remove ssl from the server line in HAProxy";
  }
  const text = Buffer.from(firstBytes.subarray(0, 4)).toString("latin1");
  if (httpMethods.includes(text)) {
    return "this is an HTTP request, and the agent speaks SPOP: the back end in HAProxy needs mode tcp (or mode spop) and is used through filter spoe only";
  }
  if (text === "PROX" || text === "\r\n\r\n") {
    return "this is a PROXY protocol header: remove send-proxy from the server line in HAProxy";
  }
  return undefined;
}
