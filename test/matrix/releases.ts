import { join } from "node:path";
import { cacheDirectory } from "../support/debian/unpacked-packages.ts";

/** An HAProxy version of the matrix, and the Debian suite that has it. */
export interface Release {
  readonly version: string;
  readonly suite: string;
}

export const releases: readonly Release[] = [
  { version: "2.6", suite: "bookworm" },
  { version: "3.0", suite: "trixie" },
  { version: "3.2", suite: "sid" },
  { version: "3.4", suite: "experimental" },
];

/** The directory of a release's unpacked packages. */
export function releaseDirectory({ version }: Release): string {
  return cacheDirectory("haproxy", version);
}

/** The program of a release: a script that runs HAProxy with its own loader and libraries. */
export function releaseProgram(release: Release): string {
  return join(releaseDirectory(release), "haproxy");
}
