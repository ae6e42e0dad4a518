import { mkdirSync, statSync } from "node:fs";
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
  } catch (error) {
    // Other errors than EEXIST, too: an existing directory on a read-only disk is EROFS.
    if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) throw error;
  }
}
