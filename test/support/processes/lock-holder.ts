import { DirectoryLock } from "../../../relay/process/directory-lock.ts";

// Locks the directory that it is called with, writes `locked` or the error, and holds the lock until it is killed.

const [directory, holder, name] = process.argv.slice(2);
try {
  const lock = DirectoryLock.take(directory, holder, "stop it", name);
  process.stdout.write("locked\n");
  setInterval(() => lock, 60_000);
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`);
}
