import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { createDirectory } from "../process/directory.ts";

// The file that holds the token of a control API: whoever may read it may change targets and read dead letters.

// Longer files are something else: they are not read.
const mostBytes = 4_096;
const tokenForm = /^[!-~]{16,}$/;

/** The token cannot be used. The message names the file and says what to do. */
export class TokenFileError extends Error {
  readonly code = "TOKEN_FILE";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TokenFileError";
  }
}

/** Reads the token; undefined if there is no file. Throws `TokenFileError` if it cannot be read, or is no token. */
export function readTokenFile(path: string): string | undefined {
  return read(path, () => {});
}

/**
 * Reads the token; creates the file first if it is missing, with a random token, readable by its owner only. Of several
 * processes that do so at once, all return the same token. Throws as `readTokenFile`, if the file cannot be created, and if
 * others than its owner and its group may use it, or have put it there.
 */
export function takeTokenFile(path: string): string {
  const known = read(path, assertPrivate);
  if (known !== undefined) return known;
  try {
    createDirectory(dirname(path));
    create(path);
  } catch (error) {
    throw new TokenFileError(`${path} cannot be created: ${(error as Error).message}`, { cause: error });
  }
  const token = read(path, assertPrivate);
  if (token === undefined) throw new TokenFileError(`${path} was deleted while it was created`);
  return token;
}

function read(path: string, check: (path: string, file: number) => void): string | undefined {
  let text: string;
  try {
    // Opening a FIFO without a writer would wait for ever.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!fstatSync(file).isFile()) throw new Error("it is not a regular file");
      check(path, file);
      text = fstatSync(file).size > mostBytes ? "" : readFileSync(file, "utf8").trim();
    } finally {
      closeSync(file);
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    if (error instanceof TokenFileError) throw error;
    const reason = code === "EACCES" ? "run this as the user of the host, or as root, or set host.token" : message;
    throw new TokenFileError(`the token in ${path} cannot be read: ${reason}`, { cause: error });
  }
  if (tokenForm.test(text)) return text;
  const form = "at least 16 printable characters, without spaces";
  throw new TokenFileError(`${path} does not hold a token (${form}): delete it, and the host creates it again`);
}

function assertPrivate(path: string, file: number): void {
  const { mode, uid } = fstatSync(file);
  if ((mode & 0o007) !== 0) {
    throw new TokenFileError(`other users of this machine may use ${path}: take this away with chmod o= ${path}`);
  }
  const user = process.geteuid?.();
  if (user === undefined || uid === user || uid === 0) return;
  const advice = "delete it, and the host creates it again, or set host.tokenFile to another file";
  throw new TokenFileError(`${path} belongs to user ${uid}, who may know its token: ${advice}`);
}

/** Writes a file of another name first, so that no process finds a file without its token. */
function create(path: string): void {
  const written = `${path}.${randomBytes(6).toString("hex")}.new`;
  const file = openSync(written, "wx", 0o600);
  try {
    writeSync(file, `${randomBytes(32).toString("base64url")}\n`);
    fsyncSync(file);
    link(written, path);
  } finally {
    closeSync(file);
    rmSync(written, { force: true });
  }
}

function link(written: string, path: string): void {
  try {
    linkSync(written, path);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    // Another process was faster.
    if (code === "EEXIST") return;
    // Some file systems have no hard links.
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(code)) throw error;
    renameSync(written, path);
  }
}
