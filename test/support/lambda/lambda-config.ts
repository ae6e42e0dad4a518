import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryDirectory } from "../data/temporary-directory.ts";

/** Writes lines of a configuration to a file in a directory that is removed after the test; returns the file. */
export function configFile(...lines: readonly string[]): string {
  const file = join(temporaryDirectory(), "spoa-relay.yaml");
  writeFileSync(file, `${lines.join("\n")}\n`);
  return file;
}
