/** What `GET /stats` of an agent answers. */
export interface AgentStats {
  /** Name and run; the name alone where several workers are added up. */
  readonly agent: string;
  /** Name and run of each worker, as in its packs: sequence numbers and counts start at the start of a run. */
  readonly runs: readonly string[];
  readonly since: string;
  /** The sum of all request counts below. */
  readonly seen: number;
  readonly sampledOut: number;
  readonly filtered: number;
  readonly looped: number;
  readonly unusable: Readonly<Record<string, number>>;
  readonly dropped: Readonly<Record<string, number>>;
  /** In packs that are not in the queue yet. */
  readonly pending: number;
  readonly enqueued: number;
  /** Requests of earlier runs that were found in the journal and enqueued; not among `seen`. */
  readonly recovered: number;
  /** Of workers that died, as they were in their last report, up to a second old. Absent where none did. */
  readonly died?: DiedStats;
  readonly packs: number;
  readonly packBytes: number;
  readonly connections: number;
  readonly waitingBytes: number;
  /** Of the segments on disk, and the packs that wait there alone. */
  readonly journalBytes: number;
  readonly journalPacks: number;
}

export interface DiedStats {
  readonly runs: readonly string[];
  /** Among `enqueued` of the whole. More may have been sent since the report, or out of the journal by a successor. */
  readonly enqueued: number;
  /** Pending in the report: in the journal for a successor, unless sent since, or not yet written there. */
  readonly leftInJournal: number;
}
