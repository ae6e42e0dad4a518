import type { ListenAddress } from "../config/forms.ts";

const timeoutMs = 3_000;

/** Fetches JSON from an admin address; undefined if no process answers there with 200. */
export async function fetchAdmin<T>(address: ListenAddress, path: string): Promise<T | undefined> {
  const { Client } = await import("undici");
  const client =
    address.kind === "unix"
      ? new Client("http://localhost", { socketPath: address.path, headersTimeout: timeoutMs })
      : new Client(`http://${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`, {
          headersTimeout: timeoutMs,
        });
  try {
    const { statusCode, body } = await client.request({ method: "GET", path });
    return statusCode === 200 ? ((await body.json()) as T) : undefined;
  } catch {
    return undefined;
  } finally {
    await client.close().catch(() => {});
  }
}

/** An address in the form of the configuration. */
export function formatAddress(address: ListenAddress): string {
  return address.kind === "unix" ? `unix:${address.path}` : `${address.host}:${address.port}`;
}
