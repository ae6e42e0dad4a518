import { type FileHandle, link, open, rename } from "node:fs/promises";
import { cannotSync } from "../process/directory.ts";
import { isMissing } from "./directory-error.ts";

/** Creates a file, readable by its owner only, that survives a power failure once its directory is synced. */
export async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Gives a file its final name; returns false if the name is taken. Links instead of renaming: if two processes race for
 * a name, the second one learns it instead of overwriting the first one's file.
 */
export async function linkOrRename(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    // Some file systems have no hard links.
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(code)) throw error;
    await rename(from, to);
  }
  return true;
}

/** Makes new entries of a directory durable, without blocking the event loop. */
export async function syncDirectory(path: string): Promise<void> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    await file.sync();
  } catch (error) {
    // Another process deleted the objects in the directory and removed it as empty.
    if (!isMissing(error) && !cannotSync(error)) throw error;
  } finally {
    await file?.close();
  }
}
