import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Attack } from "./attack.ts";

const directory = join(import.meta.dirname, "attacks");

/** The attacks in the order of their names. Each has a file of its own, named after it. */
export async function allAttacks(): Promise<readonly Attack[]> {
  const names = readdirSync(directory).flatMap((file) => (file.endsWith(".ts") ? [file.slice(0, -".ts".length)] : []));
  return Promise.all(
    names.sort().map(async (name) => {
      const { attack } = (await import(`./attacks/${name}.ts`)) as { readonly attack: Attack };
      if (attack?.name === name) return attack;
      throw new Error(`test/attack/attacks/${name}.ts must export an attack of that name`);
    }),
  );
}
