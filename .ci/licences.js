// Writes dist/THIRD-PARTY.txt: the packages that are bundled into dist/, and their licences, which must be distributed
// with them. Called by `npm run build`. Fails if a package names no licence.
import { globSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Names and versions of packages by licence text. */
const packagesOf = new Map();
for (const directory of bundledPackages()) {
  const { name, version, license } = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
  const file = readdirSync(directory).find((entry) => /^licen[cs]e(?:\.(?:md|txt))?$/i.test(entry));
  if (!file && !license) throw new Error(`${directory}: has no licence file, and its package.json names no licence`);
  const text = file
    ? readFileSync(join(directory, file), "utf8").trim()
    : `Licence: ${license}. The package does not contain its text.`;
  packagesOf.set(text, [...(packagesOf.get(text) ?? []), `${name} ${version}`]);
}
const parts = [...packagesOf].map(([text, packages]) => `${packages.sort().join("\n")}\n\n${text}\n`);
writeFileSync("dist/THIRD-PARTY.txt", parts.sort().join(`\n${"=".repeat(80)}\n\n`));

/** Directories of the bundled packages, from the comment with the source file that esbuild writes above each module. */
function bundledPackages() {
  const directories = new Set();
  for (const bundle of globSync("dist/**/*.{js,mjs}")) {
    const comments = readFileSync(bundle, "utf8").matchAll(/^ *\/\/ (\S*node_modules\/(?:@[^/\s]+\/)?[^/\s]+)\//gm);
    for (const [, directory] of comments) directories.add(directory);
  }
  return [...directories].sort();
}
