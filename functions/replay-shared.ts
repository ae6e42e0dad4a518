import { KeyTurns } from "../relay/concurrency/key-turns.ts";
import { JobWatch } from "../relay/job/job-watch.ts";
import { FateNotes } from "./fate-notes.ts";
import { checkRedrives } from "./forged-marks.ts";
import type { ReplayDeps } from "./replay-deps.ts";
import { ReplayProgress } from "./replay-progress.ts";
import { ReplayWarnings } from "./replay-warnings.ts";
import { createStateOutage, StatePatience } from "./state-patience.ts";

/** What the runs of all packs of a target share. */
export interface ReplayShared {
  readonly patience: StatePatience;
  readonly progress: ReplayProgress;
  readonly turns: KeyTurns;
  readonly watch: JobWatch;
  readonly warnings: ReplayWarnings;
  readonly notes: FateNotes;
  readonly checkRedrive: ReturnType<typeof checkRedrives>;
}

export function createShared({ lane, ledger, jobs, metrics, stateOutage, log }: ReplayDeps): ReplayShared {
  const { live } = lane;
  const { name } = live.config;
  const count = () => metrics?.countAt(name, "stateDown", 1);
  return {
    patience: new StatePatience(name, stateOutage ?? createStateOutage(log), count),
    progress: new ReplayProgress(live, metrics),
    turns: new KeyTurns(),
    watch: new JobWatch(jobs),
    warnings: new ReplayWarnings(name, log),
    notes: new FateNotes(ledger.sharesWrites === true),
    checkRedrive: checkRedrives(name, ledger, log),
  };
}
