import {
  countFinal,
  countRedriven,
  isWaiting,
  noteFates,
  noteMoved,
  reopenRequests,
  type SheetChange,
  widenSheet,
} from "../fate-sheet.ts";
import {
  type FannedOutPack,
  type Fate,
  type FateSheet,
  fates,
  type Ledger,
  type LedgerTotals,
  type Settlement,
} from "../port.ts";
import { EndedRunRows } from "./ended-run-rows.ts";
import { finishedKeptMs, type StateFile, unfinishedKeptMs } from "./sql.ts";

/** Stores a sheet of fates for each pack and target, deleted when it is no longer needed, and sums, which are kept. */
export class EmbeddedLedger implements Ledger {
  readonly #file: StateFile;
  readonly #ended: EndedRunRows;

  constructor(file: StateFile) {
    this.#file = file;
    this.#ended = new EndedRunRows(file);
  }

  async recordFanOut({ pack, agent, sequence, requests, targets }: FannedOutPack): Promise<void> {
    const { statements } = this.#file;
    this.#file.transaction(() => {
      statements.prune.run(this.#file.nowMs());
      const id = this.#packId(pack);
      const { changes } = statements.notePackRequests.run(requests, id);
      if (changes > 0) {
        this.#ended.hear(agent);
        statements.addToAgent.run(agent, requests, sequence);
      }
      for (const [target, settlement] of targets) {
        // A second attempt can add targets. For the other targets, the first attempt counts.
        statements.addShare.run(id, target);
        if (statements.noteFannedOut.run(id, target).changes === 0) continue;
        const { sheet } = this.#share(id, target);
        // Redriven requests were counted when they were redriven.
        statements.addToTarget.run(target, requests - countRedriven(sheet));
        const fannedOut = { fannedOut: 1, sheet: widenSheet(sheet, requests) };
        if (isWaiting(fannedOut.sheet)) statements.addToFate.run(target, "waitingPacks", 1);
        statements.keepSheet.run(id, target, countFinal(fannedOut.sheet), fannedOut.sheet);
        this.#keep(id, target, fannedOut, noteFates(fannedOut.sheet, settlement));
      }
      this.#schedulePruning(id);
    });
    await this.#file.sync();
  }

  async settle(target: string, pack: string, settlement: Settlement, redrives = 0): Promise<void> {
    this.#file.transaction(() => {
      const id = this.#packId(pack);
      const share = this.#share(id, target);
      this.#file.statements.addToTarget.run(target, 0);
      if (this.#keep(id, target, share, noteFates(share.sheet, settlement, redrives))) this.#schedulePruning(id);
    });
    await this.#file.sync();
  }

  async reopen(target: string, pack: string, indexes: readonly number[], redrives: number): Promise<void> {
    this.#file.transaction(() => {
      const id = this.#packId(pack);
      const share = this.#share(id, target);
      if (this.#keep(id, target, share, reopenRequests(share.sheet, indexes, redrives))) this.#schedulePruning(id);
    });
    await this.#file.sync();
  }

  async move(from: string, to: string, pack: string, indexes: readonly number[], redrives: number): Promise<void> {
    this.#file.transaction(() => {
      const id = this.#packId(pack);
      const [left, entered] = [this.#share(id, from), this.#share(id, to)];
      this.#keep(id, from, left, noteMoved(left.sheet, indexes, redrives));
      this.#keep(id, to, entered, reopenRequests(entered.sheet, indexes, redrives));
      this.#schedulePruning(id);
    });
    await this.#file.sync();
  }

  async fannedOut(pack: string): Promise<ReadonlySet<string>> {
    const rows = this.#file.guard(() => this.#file.statements.fannedOut.all(pack));
    return new Set(rows.map(({ target }) => String(target)));
  }

  async sheet(target: string, pack: string): Promise<FateSheet> {
    const row = this.#file.guard(() => this.#file.statements.sheetByName.get(pack, target));
    return (row?.sheet as FateSheet | undefined) ?? new Uint8Array();
  }

  async totals(runs: readonly string[] = []): Promise<LedgerTotals> {
    const { statements } = this.#file;
    return this.#file.transaction(() => {
      const { listed, ended } = this.#ended.list(runs);
      const agents = statements.agents.all() as unknown as LedgerTotals["agents"];
      const targets = new Map<
        string,
        { enqueued: number; fates: Record<Fate, number>; letters: number; waitingPacks: number }
      >();
      for (const { target, enqueued } of statements.targets.all()) {
        targets.set(String(target), { enqueued: Number(enqueued), fates: noFates(), letters: 0, waitingPacks: 0 });
      }
      for (const { target, fate, requests } of statements.fates.all()) {
        const totals = targets.get(String(target));
        if (!totals) continue;
        if (fate === "letters" || fate === "waitingPacks") totals[fate] = Number(requests);
        else totals.fates[fate as Fate] = Number(requests);
      }
      return {
        agents: [...agents.map((agent) => ({ ...agent })), ...listed],
        ...(ended.length > 0 && { ended }),
        targets,
      };
    });
  }

  /** Adds up the rows of runs that have ended, a part of them in each call. */
  fold(): void {
    this.#file.transaction(() => this.#ended.fold());
  }

  /** Whether anything changed. */
  #keep(packId: number, target: string, share: Share, { sheet, changed, counts }: SheetChange): boolean {
    const { statements } = this.#file;
    if (!changed) return false;
    statements.keepSheet.run(packId, target, countFinal(sheet), sheet);
    for (const [what, count] of counts) statements.addToFate.run(target, what, count);
    const packs = Number(isWaiting(sheet)) - Number(isWaiting(share.sheet));
    if (share.fannedOut === 1 && packs !== 0) statements.addToFate.run(target, "waitingPacks", packs);
    // Of a pack that was not fanned out to this target, only the requests that were redriven to it count as enqueued.
    if (share.fannedOut === 0) statements.addToTarget.run(target, countRedriven(sheet) - countRedriven(share.sheet));
    return true;
  }

  #share(packId: number, target: string): Share {
    const share = this.#file.statements.share.get(packId, target) as Share | undefined;
    return share ?? { fannedOut: 0, sheet: new Uint8Array() };
  }

  #packId(pack: string): number {
    const { addPack, packId } = this.#file.statements;
    addPack.run(pack, this.#file.nowMs() + unfinishedKeptMs);
    return Number(packId.get(pack)?.id);
  }

  #schedulePruning(packId: number): void {
    const nowMs = this.#file.nowMs();
    this.#file.statements.schedulePruning.run(nowMs + unfinishedKeptMs, nowMs + finishedKeptMs, packId);
  }
}

/** The row of a pack and a target. */
interface Share {
  readonly fannedOut: number;
  readonly sheet: FateSheet;
}

function noFates(): Record<Fate, number> {
  return Object.fromEntries(fates.map((fate) => [fate, 0])) as Record<Fate, number>;
}
