import { closeSync, fsyncSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Creates a directory and its parents, readable by the owner only, unless they exist. Throws an error of the file system that
 * names the directory. Node's `recursive` never returns in a file system that has a parent but creates nothing in it, such as
 * /proc.
 */
export function createDirectory(directory: string): void {
  try {
    createWithParents(directory);
  } catch (error) {
    const { code, syscall, message } = error as NodeJS.ErrnoException;
    throw Object.assign(new Error(`the directory ${directory} cannot be created: ${message}`), { code, syscall });
  }
}

function createWithParents(directory: string): void {
  try {
    create(directory);
  } catch (error) {
    const parent = dirname(directory);
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || parent === directory) throw error;
    createWithParents(parent);
    create(directory);
  }
}

function create(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
    // Otherwise a power failure could lose the directory with everything that was synced in it.
    syncDirectory(dirname(directory));
  } catch (error) {
    // Other errors than EEXIST, too: an existing directory on a read-only disk is EROFS.
    if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) throw error;
  }
}

/** Makes new, renamed and removed entries of a directory survive a power failure. */
export function syncDirectory(directory: string): void {
  const fd = openSync(directory, "r");
  try {
    fsyncSync(fd);
  } catch (error) {
    if (!cannotSync(error)) throw error;
  } finally {
    closeSync(fd);
  }
}

/** Whether an error of syncing a directory says that its file system, like some of networks, offers no such call. */
export function cannotSync(error: unknown): boolean {
  return ["EINVAL", "ENOTSUP"].includes((error as NodeJS.ErrnoException).code ?? "");
}
