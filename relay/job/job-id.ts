import { randomInt } from "node:crypto";

// Without those that are taken for others.
const letters = "abcdefghjkmnpqrstuvwxyz23456789";
const randomLetters = 3;

/**
 * An id such as `20261122-175341-k3f`: the moment (UTC), so that ids stand in the order of their creation, and three random
 * letters.
 */
export function createJobId(nowMs: number): string {
  const [, date, time] = /^(\d{8})T(\d{6})/.exec(new Date(nowMs).toISOString().replaceAll(/[:-]/g, "")) ?? [];
  const random = Array.from({ length: randomLetters }, () => letters[randomInt(letters.length)]).join("");
  return `${date}-${time}-${random}`;
}
