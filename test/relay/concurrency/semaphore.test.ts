import { setImmediate as turn } from "node:timers/promises";
import { expect, it } from "vitest";
import { Semaphore } from "../../../relay/concurrency/semaphore.ts";

const forever = new AbortController().signal;

it("admits as many holders as it has permits, and the others in order", async () => {
  const semaphore = new Semaphore(2);
  const entered: number[] = [];
  const waiting = [1, 2, 3, 4].map((holder) => semaphore.acquire(forever).then(() => entered.push(holder)));
  await Promise.all(waiting.slice(0, 2));
  const first = [...entered];
  semaphore.release();
  await waiting[2];
  const second = [...entered];
  semaphore.release();
  await waiting[3];

  expect([first, second, entered]).toEqual([
    [1, 2],
    [1, 2, 3],
    [1, 2, 3, 4],
  ]);
});

it("does not admit a waiter whose signal was aborted", async () => {
  const semaphore = new Semaphore(1);
  await semaphore.acquire(forever);
  const stop = new AbortController();
  const givenUp = expect(semaphore.acquire(stop.signal)).rejects.toThrow("enough");
  const next = semaphore.acquire(forever);
  stop.abort(new Error("enough"));
  await givenUp;
  semaphore.release();
  await next;

  await expect(semaphore.acquire(stop.signal)).rejects.toThrow("enough");
});

it("admits more holders after it grows, and fewer after it shrinks", async () => {
  const semaphore = new Semaphore(1);
  await semaphore.acquire(forever);
  const second = semaphore.acquire(forever);
  semaphore.resize(2);
  await second;
  let entered = false;
  const third = semaphore.acquire(forever).then(() => {
    entered = true;
  });
  semaphore.resize(1);
  semaphore.release();
  await turn();
  const whileFull = entered;
  semaphore.release();
  await third;

  expect([whileFull, entered]).toEqual([false, true]);
});
