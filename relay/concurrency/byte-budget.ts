/** Gives back the bytes that were taken; only the first call counts. */
export type Release = () => void;

interface Waiter {
  readonly bytes: number;
  readonly enter: (release: Release) => void;
}

/**
 * Bounds the bytes that the users of a process hold together. Each user has an account, so that one that holds its bytes for days
 * cannot stop the others: an account that holds nothing may always take once, whatever the others hold. At most the limit, and one
 * taking of each account beyond it, are held at once.
 */
export class ByteBudget {
  readonly #limit: number;
  readonly #accounts = new Map<string, ByteAccount>();
  #held = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get heldBytes(): number {
    return this.#held;
  }

  /** The account of a user, the same for each call. */
  accountOf(user: string): ByteAccount {
    const known = this.#accounts.get(user);
    if (known) return known;
    const account = new ByteAccount({
      hasRoom: (bytes) => this.#held + bytes <= this.#limit,
      change: (bytes) => {
        this.#held += bytes;
        if (bytes < 0) this.#admit();
      },
    });
    this.#accounts.set(user, account);
    return account;
  }

  /** The accounts take turns at being the first to be asked. */
  #admit(): void {
    const [first] = this.#accounts;
    if (!first) return;
    this.#accounts.delete(first[0]);
    this.#accounts.set(...first);
    for (const account of [...this.#accounts.values()]) account.admit();
  }
}

/** The account of one user of a budget. Its takers wait in the order of their calls. */
export class ByteAccount {
  readonly #budget: { hasRoom(bytes: number): boolean; change(bytes: number): void };
  readonly #waiting = new Set<Waiter>();
  #held = 0;

  constructor(budget: { hasRoom(bytes: number): boolean; change(bytes: number): void }) {
    this.#budget = budget;
  }

  /** Takes bytes if that is possible without waiting. */
  tryTake(bytes: number): Release | undefined {
    return this.#waiting.size === 0 && this.#mayTake(bytes) ? this.#take(bytes) : undefined;
  }

  /** Waits for bytes. Rejects with the signal's reason, without any, if it is aborted first. */
  async take(bytes: number, signal: AbortSignal): Promise<Release> {
    signal.throwIfAborted();
    const taken = this.tryTake(bytes);
    if (taken) return taken;
    return new Promise<Release>((resolve, reject) => {
      const waiter = {
        bytes,
        enter: (release: Release) => {
          signal.removeEventListener("abort", leave);
          resolve(release);
        },
      };
      const leave = () => {
        this.#waiting.delete(waiter);
        reject(signal.reason as Error);
        // The one behind it may need less.
        this.admit();
      };
      this.#waiting.add(waiter);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  /** Lets takers in while there is room for the first of them. Only the budget calls this. */
  admit(): void {
    for (const waiter of this.#waiting) {
      if (!this.#mayTake(waiter.bytes)) return;
      this.#waiting.delete(waiter);
      waiter.enter(this.#take(waiter.bytes));
    }
  }

  #mayTake(bytes: number): boolean {
    return this.#held === 0 || this.#budget.hasRoom(bytes);
  }

  #take(bytes: number): Release {
    let open = true;
    this.#held += bytes;
    this.#budget.change(bytes);
    return () => {
      if (!open) return;
      open = false;
      this.#held -= bytes;
      this.#budget.change(-bytes);
    };
  }
}
