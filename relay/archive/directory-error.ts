import { ArchiveError, type ArchiveErrorCode } from "./port.ts";

/** Converts a file system error into an `ArchiveError` that says what to do. Returns any other error unchanged. */
export function toDirectoryError(error: unknown, directory: string): unknown {
  const { code: reason = "", message, syscall } = error as NodeJS.ErrnoException;
  if (error instanceof ArchiveError || syscall === undefined) return error;
  const [code, advice] = explain(reason, directory);
  return new ArchiveError(code, `${advice} (${message})`, { cause: error });
}

/** Whether the error says that the file or directory does not exist. */
export function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}

function explain(reason: string, directory: string): [ArchiveErrorCode, string] {
  switch (reason) {
    case "ENOSPC":
    case "EDQUOT":
      return [
        "UNAVAILABLE",
        `no space is left in ${directory}: free some space, or set a shorter keep: for its captures`,
      ];
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return ["DENIED", `this user is not allowed to use ${directory}: change its owner or its mode`];
    case "EMFILE":
    case "ENFILE":
      return ["UNAVAILABLE", "too many files are open: raise the limit of open files"];
    case "EEXIST":
    case "ENOTDIR":
    case "EISDIR":
      return ["UNAVAILABLE", `${directory}: another file or directory is in the way: move it away`];
    default:
      return ["UNAVAILABLE", `${directory} cannot be used: check its disk`];
  }
}
