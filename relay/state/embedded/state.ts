import { join } from "node:path";
import { type MachineClock, machineClock, simulatedMachine } from "../../process/machine-clock.ts";
import { isDamage, SqliteFile } from "../../sqlite.ts";
import { type State, StateError } from "../port.ts";
import { EmbeddedControls } from "./controls.ts";
import { EmbeddedFigures } from "./figures.ts";
import { EmbeddedJobs } from "./jobs.ts";
import { EmbeddedLedger } from "./ledger.ts";
import { EmbeddedRounds } from "./rounds.ts";
import { adopt, type StateFile, schema, sql } from "./sql.ts";

/**
 * The state for one machine, in one SQLite file that any number of processes may open. Each method of its ports is one
 * transaction. What it recorded survives the death of any process, and if it belongs to the ledger, the controls or the jobs, also
 * a power failure: queues forget a request only after the ledger knows its fate. All methods throw `StateError`.
 */
export class EmbeddedState implements State {
  readonly rounds: EmbeddedRounds;
  readonly ledger: EmbeddedLedger;
  readonly controls: EmbeddedControls;
  readonly figures: EmbeddedFigures;
  readonly jobs: EmbeddedJobs;
  readonly #file: StateFile;

  /**
   * Opens `state.db` in the directory; creates both if they are missing.
   *
   * @param clock a function stands for both clocks of the machine, in milliseconds since 1970: for tests and simulations
   */
  static open(directory: string, clock: MachineClock | (() => number) = machineClock): EmbeddedState {
    const machine = typeof clock === "function" ? simulatedMachine(clock) : clock;
    return new EmbeddedState(
      new SqliteFile({
        machine,
        directory,
        file: stateFile,
        pragmas: "",
        schema,
        sql,
        adopt,
        toError: (message, options) =>
          new StateError(
            `state in ${directory}: ${message}${isDamage(options.cause) ? explainDamage(join(directory, stateFile)) : ""}`,
            options,
          ),
      }),
      machine,
    );
  }

  private constructor(file: StateFile, machine: MachineClock) {
    this.#file = file;
    this.rounds = new EmbeddedRounds(file);
    this.ledger = new EmbeddedLedger(file);
    this.controls = new EmbeddedControls(file);
    this.figures = new EmbeddedFigures(file, machine);
    this.jobs = new EmbeddedJobs(file, machine);
  }

  async fold(): Promise<void> {
    this.ledger.fold();
  }

  close(): void {
    this.#file.close();
  }
}

const stateFile = "state.db";

/**
 * Unlike a queue, a damaged state is not replaced: without its settings, the host would send at the configured rates to targets
 * that an operator has paused or slowed down.
 */
function explainDamage(path: string): string {
  return (
    `; ${path} has the ledger, pauses, changed rates and jobs. Nothing is sent, and requests wait in the queues. Restore the file ` +
    `from a backup, or start without it: stop the host, and then: mkdir ${path}.damaged && mv ${path}* ${path}.damaged/ ` +
    "(targets then have their configured rates, and what is in their queues is sent once more)"
  );
}
