import { type FileHandle, link, open, rename } from "node:fs/promises";
import { isMissing } from "./directory-error.ts";

/** Makes a file, readable by its owner only, that outlives the loss of power once its directory has been synced. */
export async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** False where the name is taken. A link and not a rename: of two processes with other bytes for it the second is told. */
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

/** Makes what has been put into a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    await file.sync();
  } catch (error) {
    // Removed as empty, after what was stored in it had been deleted.
    if (!isMissing(error)) throw error;
  } finally {
    await file?.close();
  }
}
