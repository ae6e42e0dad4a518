import type { Row } from "./table.ts";

interface Profile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

const idle = new Set(["(idle)", "(program)", "(root)"]);
const shown = 10;

/** The functions with the largest shares of a process's CPU time, over all its threads. */
export function summarizeProfiles(texts: readonly string[]): Row[] {
  const timeUs = new Map<string, number>();
  let totalUs = 0;
  for (const text of texts) {
    const { nodes, samples, timeDeltas } = JSON.parse(text) as Profile;
    const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
    samples.forEach((id, i) => {
      const name = names.get(id) ?? "?";
      if (idle.has(name)) return;
      timeUs.set(name, (timeUs.get(name) ?? 0) + timeDeltas[i]);
      totalUs += timeDeltas[i];
    });
  }
  return [...timeUs]
    .sort(([, a], [, b]) => b - a)
    .slice(0, shown)
    .map(([name, us]) => ({ what: name, value: `${((us / totalUs) * 100).toFixed(1).padStart(5)} %` }));
}

function nameOf({ functionName, url, lineNumber }: CallFrame): string {
  return functionName || `(anonymous, ${url.split("/").at(-1)}:${lineNumber + 1})`;
}
