import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { openControl } from "../../../functions/lambda/control.ts";
import { openFanOut } from "../../../functions/lambda/fanout.ts";
import { openReplay } from "../../../functions/lambda/replay.ts";
import { openSchedule } from "../../../functions/lambda/schedule.ts";
import {
  bundleFile,
  deployedName,
  type FunctionName,
  functionNames,
  functionSettings,
  functionVariables,
  handlerFile,
  handlerName,
  readEnvironment,
  toEnvironment,
} from "../../../relay/deployed/functions.ts";
import { replayArn } from "../../support/lambda/lambda-api.ts";
import { configFile } from "../../support/lambda/lambda-config.ts";

const root = resolve(import.meta.dirname, "../../..");
const open = { fanout: openFanOut, replay: openReplay, schedule: openSchedule, control: openControl };

describe("the environment of a function", () => {
  it.each(functionNames)("is written and read by the same names: %s", (name) => {
    const settings = Object.fromEntries(functionSettings[name].map((setting) => [setting, `some ${setting}`]));

    const env = toEnvironment(name, settings);

    expect(Object.keys(env)).toEqual(variablesOf(name));
    expect(readEnvironment(name, { ...env, PATH: "/bin" })).toEqual(settings);
  });

  it("leaves out settings that are not given", () => {
    expect(toEnvironment("replay", { target: "a" })).toEqual({ RELAY_TARGET: "a" });
    expect(readEnvironment("replay", {})).toEqual({});
  });

  it.each(functionNames)("has exactly the variables that the function reads: %s", async (name) => {
    const config = configFile(
      "queue: https://sqs.eu-west-1.amazonaws.com/123456789012/packs",
      "state: dynamodb:relay",
      'targets: { a: { url: "http://127.0.0.1:9", rate: 1/s }, b: { url: "http://127.0.0.1:9", rate: 1/s } }',
    );
    const settings = { config, target: "a", mappings: JSON.stringify({ a: replayArn("a") }) };
    const read = new Set<string>();
    const env = new Proxy(toEnvironment(name, settings), {
      get: (variables, key) => {
        if (typeof key === "string" && key.startsWith("RELAY_")) read.add(key);
        return Reflect.get(variables, key);
      },
    });

    await open[name](env);

    expect([...read].sort()).toEqual(variablesOf(name).sort());
  });

  it("is named in only one place", () => {
    const files = globSync("{functions,infra}/**/*.ts", { cwd: root });

    const literal = files.filter((file) => /\bRELAY_[A-Z]/.test(readFileSync(join(root, file), "utf8")));

    expect(files.length).toBeGreaterThan(20);
    expect(literal).toEqual([]);
  });
});

describe("the files of functions", () => {
  it("are the files in functions/handlers", () => {
    expect(functionNames.map(handlerFile).sort()).toEqual(globSync("functions/handlers/*.ts", { cwd: root }).sort());
  });

  it("are the files that `npm run bundle:functions` bundles", () => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const [, extension] = /--out-extension:\.js=(\S+)/.exec(scripts["bundle:functions"]) ?? [];
    const bundled = scripts["bundle:functions"].match(/functions\/handlers\/\w+\.ts/g);

    expect(bundled.sort()).toEqual(functionNames.map(handlerFile).sort());
    expect(functionNames.map(bundleFile).sort()).toEqual(
      bundled.map((file: string) => basename(file, ".ts") + extension).sort(),
    );
  });

  it("export the handler that Lambda calls", () => {
    for (const name of functionNames) {
      const file = join(root, handlerFile(name));
      expect(existsSync(file)).toBe(true);
      const [, exported] = handlerName(name).split(".");
      expect(readFileSync(file, "utf8")).toContain(`export const ${exported} =`);
    }
  });
});

describe("the names of functions in Lambda", () => {
  it("consist of queue, function and target", () => {
    expect(deployedName("packs", "control")).toBe("packs-control");
    expect(deployedName("packs", "replay", "staging")).toBe("packs-replay-staging");
  });

  it("cannot be longer than Lambda allows", () => {
    expect(deployedName("q".repeat(57), "fanout")).toHaveLength(64);
    expect(() => deployedName("q".repeat(58), "fanout")).toThrow("Lambda allows names of at most 64 characters");
  });
});

function variablesOf(name: FunctionName): string[] {
  return functionSettings[name].map((setting) => functionVariables[setting]);
}
