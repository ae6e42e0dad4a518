/** The answer of an agent to `GET /stats`. */
export interface AgentStats {
  /** Name and run; the name alone if several workers are added up. */
  readonly agent: string;
  /** Name and run of each worker, as in its packs. Sequence numbers and counts begin anew with each run. */
  readonly runs: readonly string[];
  readonly since: string;
  /** The sum of all request counts below. */
  readonly seen: number;
  readonly sampledOut: number;
  readonly filtered: number;
  readonly looped: number;
  /** WebSockets and other connections that stop being HTTP. Absent in older agents, like the next one. */
  readonly upgrade?: number;
  /** Other requests that cannot be replayed, by reason: `CONNECT` or `OPTIONS *`. */
  readonly unreplayable?: Readonly<Record<string, number>>;
  readonly unusable: Readonly<Record<string, number>>;
  readonly dropped: Readonly<Record<string, number>>;
  /** Requests in packs that are not in the queue yet. */
  readonly pending: number;
  readonly enqueued: number;
  /** Requests of earlier runs that were found in the journal and enqueued; not included in `seen`. */
  readonly recovered: number;
  /** Bodies that `agent.redact` left out, by reason; absent if there are none. Their requests are in the counts above. */
  readonly omittedBodies?: Readonly<Record<string, number>>;
  /** Figures of workers that died, from their last report, which is up to 1 s old. Absent if none died. */
  readonly died?: DiedStats;
  readonly packs: number;
  readonly packBytes: number;
  readonly connections: number;
  readonly waitingBytes: number;
  /** Size of the journal's segments on disk, and the number of packs that wait only there. */
  readonly journalBytes: number;
  readonly journalPacks: number;
  /** What is wrong with HAProxy's configuration, and the cure; absent if nothing is. */
  readonly warnings?: readonly string[];
}

export interface DiedStats {
  readonly runs: readonly string[];
  /** Included in the agent's `enqueued`. More may have been sent after the report, or by a successor from the journal. */
  readonly enqueued: number;
  /** Requests pending in the report: in the journal for a successor, or sent since, or lost because not yet written. */
  readonly leftInJournal: number;
}
