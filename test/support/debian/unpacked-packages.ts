import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** A program of Debian that is unpacked with everything it depends on, not installed. */
export interface UnpackedPackages {
  readonly suite: string;
  readonly packages: readonly string[];
  /** The directory below the cache; it has the packages' files in `root`. */
  readonly directory: string;
}

/** Below the user's cache: outside the repository, so that clones share it. */
export function cacheDirectory(...names: readonly string[]): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "spoa-relay", ...names);
}

/**
 * Downloads packages and unpacks them, replacing what was there. Uses an apt configuration of its own with one suite and no
 * installed packages, so that apt also fetches all libraries. Needs neither root nor chroot, but Debian's apt.
 */
export function unpackPackages({ suite, packages, directory }: UnpackedPackages): void {
  // Renamed at the end, so that an interrupted run leaves nothing incomplete.
  const unfinished = `${directory}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  const apt = createApt(unfinished, suite);
  apt("update");
  // By name, because apt takes nothing from experimental otherwise; the libraries come from sid.
  apt("install", "--download-only", "--no-install-recommends", "--target-release", suite, ...packages);
  const root = join(unfinished, "root");
  for (const file of globSync(join(unfinished, "apt/cache/archives/*.deb"))) {
    execFileSync("dpkg-deb", ["--extract", file, root], { stdio: ["ignore", "ignore", "inherit"] });
  }
  rmSync(join(unfinished, "apt"), { recursive: true });
  rmSync(directory, { recursive: true, force: true });
  renameSync(unfinished, directory);
}

/** The command that runs an unpacked program with the loader and the libraries of its own suite. */
export function unpackedCommand({ directory }: Pick<UnpackedPackages, "directory">): readonly string[] {
  const root = join(directory, "root");
  const [loader] = globSync(join(root, "{lib,usr/lib}/*-linux-gnu*/ld-linux*.so.*"));
  const libraries = dirname(loader).slice(root.length).replace("/usr", "");
  return [loader, "--inhibit-cache", "--library-path", `${root}${libraries}:${root}/usr${libraries}`];
}

/** Runs apt-get with all its files below `directory`. */
function createApt(directory: string, suite: string): (...args: readonly string[]) => void {
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
    throw new Error("apt-get is missing: run this on Debian or in a Debian container", { cause });
  }
  const uri = targets.split("\n").find((line) => line.startsWith("Debian main "));
  if (!uri) throw new Error("apt has no Debian mirror: run this on Debian or in a Debian container");
  if (!existsSync(keyring))
    throw new Error(`${keyring} is missing; install it: apt-get install debian-archive-keyring`);
  return uri.split(" ")[2];
}
