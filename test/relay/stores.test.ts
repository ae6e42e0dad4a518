import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { loadConfig } from "../../relay/config/load.ts";
import { openStores } from "../../relay/stores.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";

it("finds the queue of each target, and throws for an unknown target", async () => {
  const file = join(temporaryDirectory(), "spoa-relay.yaml");
  writeFileSync(
    file,
    "queue: embedded:./data\ntargets:\n  a: { url: http://a, rate: unlimited }\n  b: { url: http://b, rate: unlimited }\n",
  );
  const stores = await openStores(loadConfig(file, {}));
  onTestFinished(() => stores.close());

  expect(stores.queueOf("b")).toBe(stores.targets.get("b"));
  expect(() => stores.queueOf("c")).toThrow("there is no target c; the configuration has: a, b");
});
