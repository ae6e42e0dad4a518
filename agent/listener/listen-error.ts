import type { ListenAddress } from "../../relay/config/forms.ts";

/** Says why the agent cannot listen, and what to do. */
export function listenError(address: ListenAddress, error: NodeJS.ErrnoException): Error {
  const place = address.kind === "unix" ? `unix:${address.path}` : `${address.host}:${address.port}`;
  const advice: Record<string, string> = {
    EADDRINUSE:
      address.kind === "unix"
        ? "a file that is not a socket is in its place; remove it, or choose another agent.listen"
        : "another process listens there; stop it, or choose another agent.listen",
    EADDRNOTAVAIL: "this machine has no such address; correct agent.listen",
    EACCES: "not permitted; use a port above 1023, or a directory that the agent may write to",
    ENOTFOUND: "the host name is unknown; correct agent.listen",
    ENOENT: "the directory of the socket does not exist; create it, or correct agent.listen",
  };
  return new Error(`agent.listen: cannot listen on ${place}: ${advice[error.code ?? ""] ?? error.message}`, {
    cause: error,
  });
}
