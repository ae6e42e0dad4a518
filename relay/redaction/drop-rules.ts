import { mediaTypeOf } from "./content-kind.ts";
import { createNameTest, type NameTest } from "./name-patterns.ts";

/** Bodies to drop: those of requests that match every part that is given. `*` stands for any characters. */
export interface DropRule {
  /** Matched against the path without its query, whatever its case, as received and as servers understand it. */
  readonly path?: string;
  /** Matched against the Content-Type without its parameters. */
  readonly type?: string;
}

/** Whether the body of a request is dropped, by its path with query and its Content-Types. */
export type DropTest = (path: string, types: readonly string[]) => boolean;

export function createDropTest(rules: readonly DropRule[]): DropTest {
  const tests = rules.map(({ path, type }) => ({
    path: path === undefined ? undefined : createNameTest([path]),
    type: type === undefined ? undefined : createNameTest([type]),
  }));
  const readsPath = tests.some(({ path }) => path);
  return (target, types) => {
    // Once for all rules: a path can be long.
    const [path] = readsPath ? target.split(/[?#]/, 1) : [""];
    const paths = readsPath ? [path, plainPath(path)] : [];
    const media = types.map(mediaTypeOf);
    return tests.some((test) => matchesAny(test.path, paths) && matchesAny(test.type, media));
  };
}

function matchesAny(test: NameTest | undefined, names: readonly string[]): boolean {
  return !test || names.some(test);
}

/** One spelling for each path: no escapes, empty or dotted segments, or parameters behind a semicolon. */
function plainPath(path: string): string {
  const decoded = path.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  const segments: string[] = [];
  for (const segment of decoded.split(/[/\\]/)) {
    const [name] = segment.split(";", 1);
    if (name === "..") segments.pop();
    else if (name !== "" && name !== ".") segments.push(name);
  }
  return `/${segments.join("/")}`;
}
