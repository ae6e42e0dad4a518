import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, renameSync, writeFileSync } from "node:fs";
import { unpackedCommand, unpackPackages } from "../support/debian/unpacked-packages.ts";
import { type Release, releaseDirectory, releaseProgram, releases } from "./releases.ts";

// Unpacks each HAProxy of the matrix from Debian's packages, once. Needs neither root nor chroot.

try {
  for (const release of releases) {
    if (!existsSync(releaseProgram(release))) fetch(release);
    const [line] = execFileSync(releaseProgram(release), ["-v"], { encoding: "utf8" }).split("\n");
    process.stdout.write(`${release.version}: ${line}\n`);
    if (!line.includes(` ${release.version}.`)) {
      throw new Error(`Debian ${release.suite} has another version of HAProxy now: change test/matrix/releases.ts`);
    }
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}

function fetch(release: Release): void {
  process.stderr.write(`Fetching HAProxy ${release.version} from Debian ${release.suite} …\n`);
  unpackPackages({ suite: release.suite, packages: ["haproxy"], directory: releaseDirectory(release) });
  writeProgram(release);
}

function writeProgram(release: Release): void {
  const directory = releaseDirectory(release);
  const loader = unpackedCommand({ directory }).map((part) => `'${part}'`);
  const program = releaseProgram(release);
  // With --argv0: at a reload HAProxy starts itself again by the name that it was started with.
  const script = `#!/bin/sh
exec ${loader.join(" ")} --argv0 '${program}' '${directory}/root/usr/sbin/haproxy' "$@"
`;
  writeFileSync(`${program}.unfinished`, script);
  chmodSync(`${program}.unfinished`, 0o755);
  renameSync(`${program}.unfinished`, program);
}
