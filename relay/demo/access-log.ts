/** A request in HAProxy's access log; see `log-format` in haproxy.cfg. */
export interface LoggedRequest {
  /** Without the query. */
  readonly path: string;
  /** Whether HAProxy was to mirror it: the condition of the SPOE event was true. */
  readonly offered: boolean;
  /** `mirror_err`; undefined if the agent acknowledged the request, or if it was not offered. */
  readonly error?: number;
}

/** The requests in `text`, in the order in which they ended. Other lines of HAProxy are ignored. */
export function parseAccessLog(text: string): LoggedRequest[] {
  return Array.from(
    text.matchAll(/ (\/\S*) mirror_err=(\d+|-) mirror_ms=(\d+|-)\n/g),
    ([, path, error, waitedMs]): LoggedRequest =>
      error === "-" ? { path, offered: waitedMs !== "-" } : { path, offered: true, error: Number(error) },
  );
}
