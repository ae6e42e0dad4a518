import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { LambdaHandler } from "../../../functions/lambda/lambda.ts";

// Imitates Lambda's runtime in a process of its own: loads the handler of a bundle, sends `ready`, and calls the handler with
// each event. It has no timeout, as in Lambda: the parent kills the process.

interface Call {
  readonly event: unknown;
  readonly timeoutMs: number;
}

const [bundle] = process.argv.slice(2);
const { handler } = (await import(pathToFileURL(resolve(bundle)).href)) as { readonly handler: LambdaHandler };

process.on("message", async ({ event, timeoutMs }: Call) => {
  const endMs = Date.now() + timeoutMs;
  try {
    const answer = await handler(event, { getRemainingTimeInMillis: () => endMs - Date.now() });
    process.send?.({ answer });
  } catch (error) {
    const { name, message } = error as Error;
    process.send?.({ error: `${name}: ${message}` });
  }
});
process.send?.("ready");
