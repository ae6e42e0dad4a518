import { homedir } from "node:os";
import { join } from "node:path";

/** A HAProxy that the matrix tests, and the suite of Debian that has it. */
export interface Release {
  readonly version: string;
  readonly suite: string;
}

export const releases: readonly Release[] = [
  { version: "2.6", suite: "bookworm" },
  { version: "3.0", suite: "trixie" },
  { version: "3.2", suite: "sid" },
];

/** Where the packages of a release are unpacked; outside the tree, so that clones share it. */
export function releaseDirectory({ version }: Release): string {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return join(cache, "spoa-relay", "haproxy", version);
}

/** The program of a release: a script that runs it with its own loader and libraries. */
export function releaseProgram(release: Release): string {
  return join(releaseDirectory(release), "haproxy");
}
