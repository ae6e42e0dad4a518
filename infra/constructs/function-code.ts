import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code } from "aws-cdk-lib/aws-lambda";
import { bundleFile } from "../../relay/deployed/functions.ts";
import type { FunctionLayout } from "../function-layout.ts";
import type { RelayContext } from "./relay-context.ts";

/**
 * Puts the bundle of a function and its configuration into a temporary directory and passes it to `use`. The directory is removed
 * afterwards: the function's construct copies its code while it is constructed. Throws if the bundle does not exist.
 */
export function withCode<T>(
  { kind, target }: Pick<FunctionLayout, "kind" | "target">,
  { bundles, filesOf }: RelayContext,
  use: (code: Code) => T,
): T {
  const bundle = join(bundles, bundleFile(kind));
  if (!existsSync(bundle)) throw new Error(`${bundle} does not exist; run npm run build`);
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-code-"));
  try {
    copyFileSync(bundle, join(directory, bundleFile(kind)));
    for (const [name, content] of filesOf(target)) writeFileSync(join(directory, name), content);
    return use(Code.fromAsset(directory));
  } finally {
    rmSync(directory, { recursive: true });
  }
}
