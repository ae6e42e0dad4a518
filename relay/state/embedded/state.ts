import { type MachineClock, machineClock, simulatedMachine } from "../../process/machine-clock.ts";
import { SqliteFile } from "../../sqlite.ts";
import { type State, StateError } from "../port.ts";
import { EmbeddedControls } from "./controls.ts";
import { EmbeddedFigures } from "./figures.ts";
import { EmbeddedJobs } from "./jobs.ts";
import { EmbeddedLedger } from "./ledger.ts";
import { EmbeddedRounds } from "./rounds.ts";
import { type StateFile, schema, sql } from "./sql.ts";

/**
 * The state for one machine, in one SQLite file that any number of processes may open. Each method of its ports is one
 * transaction; what it recorded survives the death of any process. All methods throw `StateError`.
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
        file: "state.db",
        pragmas: "",
        schema,
        sql,
        toError: (message, options) => new StateError(`state in ${directory}: ${message}`, options),
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
    this.jobs = new EmbeddedJobs(file);
  }

  close(): void {
    this.#file.close();
  }
}
