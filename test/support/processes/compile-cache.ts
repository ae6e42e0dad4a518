import { resolve } from "node:path";

/**
 * Environment of the tests, and so of the processes that they start: Node keeps the code that it has compiled, which halves the
 * CPU time of a start (nodejs.org/api/module.html, Module compile cache).
 */
export const compileCache = {
  NODE_COMPILE_CACHE: resolve(import.meta.dirname, "../../../node_modules/.cache/compile"),
} as const;
