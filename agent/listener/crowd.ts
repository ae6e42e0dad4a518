/** A connection, or one whose TLS handshake has not finished. */
export interface Member {
  /** NOTIFYs that it has sent so far. */
  readonly completed: number;
  /** Ends it, to make room for another. */
  leave(): void;
}

// How many members with traffic are asked whether they still have any. Few are enough: each question moves a member to the end.
const asked = 64;

/**
 * All connections, at most `limit`. If another one comes, the one that is missed least has to leave: first those without a HELLO,
 * then those without a NOTIFY, each in the order in which they came, and then the one without traffic for the longest time. So a
 * peer that only connects does not lock HAProxy out.
 */
export class Crowd {
  readonly limit: number;
  readonly #silent = new Set<Member>();
  readonly #greeted = new Set<Member>();
  /** Those with traffic, with the NOTIFYs that they had sent when they were last looked at. */
  readonly #active = new Map<Member, number>();

  constructor(limit: number) {
    this.limit = limit;
  }

  get size(): number {
    return this.#silent.size + this.#greeted.size + this.#active.size;
  }

  /** Takes in a connection. Makes room for it if that is necessary, or returns false if all others have traffic. */
  add(member: Member): boolean {
    if (this.size >= this.limit) {
      const leaving = this.#least();
      if (!leaving) return false;
      this.remove(leaving);
      leaving.leave();
    }
    this.#silent.add(member);
    return true;
  }

  /** Takes note of a member's HELLO. */
  greet(member: Member): void {
    if (this.#silent.delete(member)) this.#greeted.add(member);
  }

  /** Takes note of a member's first NOTIFY. */
  activate(member: Member): void {
    if (this.#silent.delete(member) || this.#greeted.delete(member)) this.#active.set(member, 0);
  }

  remove(member: Member): void {
    this.#silent.delete(member);
    this.#greeted.delete(member);
    this.#active.delete(member);
  }

  #least(): Member | undefined {
    for (const member of this.#silent) return member;
    for (const member of this.#greeted) return member;
    let left = Math.min(asked, this.#active.size);
    for (const [member, completed] of this.#active) {
      if (left-- === 0) return undefined;
      if (member.completed === completed) return member;
      this.#active.delete(member);
      this.#active.set(member, member.completed);
    }
    return undefined;
  }
}
