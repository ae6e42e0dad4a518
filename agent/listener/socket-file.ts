import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, lstatSync, unlinkSync } from "node:fs";
import type { SocketFile } from "../../relay/config/config.ts";

/** Removes the socket file at this path. Leaves any other kind of file alone. */
export function removeSocketFile(path: string): void {
  try {
    if (lstatSync(path).isSocket()) unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

/** Sets the owner, the group and the permissions of the socket. Throws an error that names the key. */
export function applySocketFile(path: string, { mode, owner, group }: SocketFile): void {
  // The owner first: a change of owner may clear permissions.
  if (owner !== undefined) change("owner", owner, () => chownSync(path, toId("passwd", owner), -1));
  if (group !== undefined) change("group", group, () => chownSync(path, -1, toId("group", group)));
  if (mode !== undefined) change("mode", `0${mode.toString(8)}`, () => chmodSync(path, mode));
}

function change(key: "owner" | "group" | "mode", value: string | number, apply: () => void): void {
  try {
    apply();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === "EPERM" ? "not permitted: start the agent as root, or as a member of that group" : message;
    throw new Error(`agent.socket.${key}: ${value}: ${reason}`, { cause: error });
  }
}

/**
 * The number of a user or a group. `getent` also finds names that are not in /etc/passwd or /etc/group, such as LDAP's.
 */
function toId(database: "passwd" | "group", account: string | number): number {
  if (typeof account === "number" || /^\d+$/.test(account)) return Number(account);
  let entry: string;
  try {
    entry = execFileSync("getent", ["--", database, account], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch {
    throw new Error(`there is no ${database === "passwd" ? "user" : "group"} of this name on this machine`);
  }
  // name:password:number:…
  return Number(entry.split(":")[2]);
}
