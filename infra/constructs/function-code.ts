import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code } from "aws-cdk-lib/aws-lambda";
import { bundleFile } from "../../relay/deployed/functions.ts";
import type { FunctionLayout } from "../function-layout.ts";
import type { RelayContext } from "./relay-context.ts";

/**
 * Puts the bundle of a function together with its configuration and hands it to `use`, while it is there: a function that is
 * constructed copies its code at once. Throws where there is no bundle.
 */
export function withCode<T>(
  { kind, target }: Pick<FunctionLayout, "kind" | "target">,
  { bundles, filesOf }: RelayContext,
  use: (code: Code) => T,
): T {
  const bundle = join(bundles, bundleFile(kind));
  if (!existsSync(bundle)) throw new Error(`${bundle} is missing: npm run build makes it`);
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-code-"));
  try {
    copyFileSync(bundle, join(directory, bundleFile(kind)));
    for (const [name, content] of filesOf(target)) writeFileSync(join(directory, name), content);
    return use(Code.fromAsset(directory));
  } finally {
    rmSync(directory, { recursive: true });
  }
}
