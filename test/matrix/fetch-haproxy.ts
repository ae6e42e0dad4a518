import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, globSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Release, releaseDirectory, releaseProgram, releases } from "./releases.ts";

// Unpacks each HAProxy of the matrix from Debian's packages, once. Uses an apt configuration of its own with one suite and no
// installed packages, so that apt also fetches all libraries. Needs neither root nor chroot.

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

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
  const directory = releaseDirectory(release);
  // Renamed at the end, so that an interrupted run leaves no incomplete release.
  const unfinished = `${directory}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  const apt = createApt(unfinished, release);
  apt("update");
  // By name, because apt takes nothing from experimental otherwise; the libraries come from sid.
  apt("install", "--download-only", "--no-install-recommends", "--target-release", release.suite, "haproxy");
  const root = join(unfinished, "root");
  for (const file of globSync(join(unfinished, "apt/cache/archives/*.deb"))) {
    execFileSync("dpkg-deb", ["--extract", file, root], { stdio: ["ignore", "ignore", "inherit"] });
  }
  rmSync(join(unfinished, "apt"), { recursive: true });
  rmSync(directory, { recursive: true, force: true });
  renameSync(unfinished, directory);
  writeProgram(release);
}

/** Runs apt-get with all its files below `directory`. */
function createApt(directory: string, { suite }: Release): (...args: readonly string[]) => void {
  const apt = join(directory, "apt");
  // Experimental has only what is newer than in sid.
  const suites = suite === "experimental" ? "sid experimental" : suite;
  for (const name of ["state/lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/sources.list.d"]) {
    mkdirSync(join(apt, name), { recursive: true });
  }
  writeFileSync(join(apt, "status"), "");
  writeFileSync(
    join(apt, "etc/sources.list.d/debian.sources"),
    `Types: deb\nURIs: ${debianMirror()}\nSuites: ${suites}\nComponents: main\nSigned-By: ${keyring}\n`,
  );
  const options = {
    "Dir::State": join(apt, "state"),
    "Dir::State::status": join(apt, "status"),
    "Dir::Cache": join(apt, "cache"),
    "Dir::Etc::sourcelist": "/dev/null",
    "Dir::Etc::sourceparts": join(apt, "etc/sources.list.d"),
    "Dir::Etc::preferences": "/dev/null",
    "Dir::Etc::preferencesparts": join(apt, "etc/preferences.d"),
    // Downloads as the current user: apt's own user is not allowed to write here.
    "APT::Sandbox::User": "",
    "Acquire::Languages": "none",
  };
  const flags = Object.entries(options).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
  return (...args) => {
    execFileSync("apt-get", ["-qq", "-y", ...flags, ...args], { stdio: ["ignore", "ignore", "inherit"] });
  };
}

/** The URI of this machine's Debian mirror. */
function debianMirror(): string {
  let targets: string;
  try {
    targets = execFileSync("apt-get", ["indextargets", "--format", "$(LABEL) $(COMPONENT) $(REPO_URI)"], {
      encoding: "utf8",
    });
  } catch (cause) {
    throw new Error("apt-get is missing: run the matrix on Debian or in a Debian container", { cause });
  }
  const uri = targets.split("\n").find((line) => line.startsWith("Debian main "));
  if (!uri) throw new Error("apt has no Debian mirror: run the matrix on Debian or in a Debian container");
  if (!existsSync(keyring))
    throw new Error(`${keyring} is missing; install it: apt-get install debian-archive-keyring`);
  return uri.split(" ")[2];
}

function writeProgram(release: Release): void {
  const root = join(releaseDirectory(release), "root");
  const [loader] = globSync(join(root, "{lib,usr/lib}/*-linux-gnu*/ld-linux*.so.*"));
  const libraries = dirname(loader).slice(root.length).replace("/usr", "");
  const program = releaseProgram(release);
  // With --argv0: at a reload HAProxy starts itself again by the name that it was started with.
  const script = `#!/bin/sh
exec '${loader}' --inhibit-cache --library-path '${root}${libraries}:${root}/usr${libraries}' --argv0 '${program}' \\
  '${root}/usr/sbin/haproxy' "$@"
`;
  writeFileSync(`${program}.unfinished`, script);
  chmodSync(`${program}.unfinished`, 0o755);
  renameSync(`${program}.unfinished`, program);
}
