/** A request as HAProxy's access log has it: see `log-format` in haproxy.cfg. */
export interface LoggedRequest {
  /** Without the query. */
  readonly path: string;
  /** Whether HAProxy was to mirror it: the condition of the event was true. */
  readonly offered: boolean;
  /** `mirror_err`; undefined if the agent has acknowledged the request, or was not asked. */
  readonly error?: number;
}

/** The requests in `text`, in the order in which they ended. Other lines of HAProxy are left out. */
export function parseAccessLog(text: string): LoggedRequest[] {
  return Array.from(
    text.matchAll(/ (\/\S*) mirror_err=(\d+|-) mirror_ms=(\d+|-)\n/g),
    ([, path, error, waitedMs]): LoggedRequest =>
      error === "-" ? { path, offered: waitedMs !== "-" } : { path, offered: true, error: Number(error) },
  );
}
