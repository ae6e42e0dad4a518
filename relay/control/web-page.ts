import { isLoopback } from "../config/forms.ts";

/**
 * Whether a web page of another origin sends this request. A browser sends the requests of any page to any address, and names
 * the page's origin.
 *
 * @param origin the header `Origin`
 * @param host the header `Host`, with a port
 */
export function isForeignPage(origin: string | undefined, host: string): boolean {
  return origin !== undefined && URL.parse(origin)?.host !== host;
}

/**
 * Whether the header `Host` names this machine. DNS rebinding: a page can resolve its own name to this machine. Origin and host
 * are then equal, but not localhost.
 */
export function namesThisMachine(host: string): boolean {
  const hostname = (URL.parse(`http://${host}`)?.hostname ?? "").replace(/^\[|\]$/g, "");
  // URL writes ::ffff:127.0.0.1 as ::ffff:7f00:1.
  return isLoopback(/^::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}$/.test(hostname) ? "127.0.0.1" : hostname);
}
