import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { KeyTurns } from "../../../relay/concurrency/key-turns.ts";

describe("KeyTurns", () => {
  it("runs the tasks of one key one after the other, and those of other keys concurrently", async () => {
    const turns = new KeyTurns();
    const begun: string[] = [];
    const ends = new Map<string, () => void>();
    const task = (name: string) => () => {
      begun.push(name);
      return new Promise<void>((resolve) => ends.set(name, resolve));
    };
    const all = Promise.all([
      turns.run("a", task("a1")),
      turns.run("a", task("a2")),
      turns.run("b", task("b1")),
      turns.run("a", task("a3")),
    ]);
    const before = [...begun];
    ends.get("a1")?.();
    await turn();
    const afterFirst = [...begun];
    ends.get("a2")?.();
    await turn();
    ends.get("a3")?.();
    ends.get("b1")?.();
    await all;

    expect(before).toEqual(["a1", "b1"]);
    expect(afterFirst).toEqual(["a1", "b1", "a2"]);
    expect(begun).toEqual(["a1", "b1", "a2", "a3"]);
  });

  it("runs a task at once if no other task of its key is running", async () => {
    const turns = new KeyTurns();
    let ran = 0;
    const task = async () => {
      ran++;
    };
    await turns.run("a", task);
    const second = turns.run("a", task);

    expect(ran).toBe(2);
    await second;
  });
});
