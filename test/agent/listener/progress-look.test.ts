import { expect, it } from "vitest";
import { createProgressLook } from "../../../agent/listener/progress-look.ts";

it("a look at all connections is continued with the next one, and leaves out those that have gone", () => {
  const looked: number[] = [];
  const connections = new Set([0, 1, 2, 3, 4].map((i) => ({ i, checkProgress: () => looked.push(i) })));
  const look = createProgressLook(connections);
  const remove = (i: number) => {
    for (const connection of connections) if (connection.i === i) connections.delete(connection);
  };

  expect(look.work(() => looked.length < 2)).toBe(true);
  remove(0);
  remove(3);
  expect(look.work(() => true)).toBe(false);
  expect(looked).toEqual([0, 1, 2, 4]);

  expect(look.work(() => true)).toBe(false);
  expect(looked).toEqual([0, 1, 2, 4, 1, 2, 4]);
});
