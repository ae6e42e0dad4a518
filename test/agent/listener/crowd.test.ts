import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Crowd, type Member } from "../../../agent/listener/crowd.ts";

class Visitor implements Member {
  readonly name: string;
  completed = 0;
  left = false;

  constructor(name: string) {
    this.name = name;
  }

  leave(): void {
    this.left = true;
  }
}

function fill(crowd: Crowd, ...names: string[]): Visitor[] {
  return names.map((name) => {
    const visitor = new Visitor(name);
    crowd.add(visitor);
    return visitor;
  });
}

function talk(crowd: Crowd, visitor: Visitor): void {
  visitor.completed++;
  crowd.activate(visitor);
}

describe("a full crowd", () => {
  it("gives up the silent first, then those without a NOTIFY, and then those without traffic for the longest time", () => {
    const crowd = new Crowd(4);
    const [haproxy, greeted, silent, idle] = fill(crowd, "haproxy", "greeted", "silent", "idle");
    talk(crowd, haproxy);
    talk(crowd, idle);
    crowd.greet(greeted);
    const gone: string[] = [];
    const all = [haproxy, greeted, silent, idle];
    const admitted: boolean[] = [];

    for (let i = 0; i < 4; i++) {
      haproxy.completed++;
      const late = new Visitor(`late ${i}`);
      admitted.push(crowd.add(late));
      talk(crowd, late);
      gone.push(...all.filter(({ left }) => left).map(({ name }) => name));
      all.splice(0, all.length, ...all.filter(({ left }) => !left), late);
    }

    // Third, all have had traffic since they were last looked at. Then, `idle` has had none.
    expect(admitted).toEqual([true, true, false, true]);
    expect(gone).toEqual(["silent", "greeted", "idle"]);
    expect(crowd.size).toBe(4);
  });

  it("refuses a newcomer if every member has traffic", () => {
    const crowd = new Crowd(3);
    const members = fill(crowd, "a", "b", "c");
    for (const member of members) talk(crowd, member);
    const late = new Visitor("late");

    expect(crowd.add(late)).toBe(false);

    expect(members.filter(({ left }) => left)).toEqual([]);
    expect(crowd.size).toBe(3);
  });

  it("keeps HAProxy's connection and lets a new one of HAProxy in, however many others only connect or greet", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 9 }), fc.array(fc.boolean(), { maxLength: 60 }), (limit, greets) => {
        const crowd = new Crowd(limit);
        const [haproxy] = fill(crowd, "haproxy");
        talk(crowd, haproxy);
        for (const greet of greets) {
          const [one] = fill(crowd, "attacker");
          if (greet) crowd.greet(one);
          haproxy.completed++;
          expect(crowd.size).toBeLessThanOrEqual(limit);
        }
        const [second] = fill(crowd, "second");
        talk(crowd, second);
        expect([haproxy.left, second.left]).toEqual([false, false]);
      }),
    );
  });

  it("forgets members that have left", () => {
    const crowd = new Crowd(2);
    const [one, two] = fill(crowd, "one", "two");
    talk(crowd, two);
    crowd.remove(one);
    crowd.remove(two);
    crowd.activate(two);

    expect(crowd.size).toBe(0);
  });
});
