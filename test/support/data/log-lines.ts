import { createLogger, type Logger } from "../../../relay/log/log.ts";

/** A log whose lines are kept, one object for each. */
export class LogLines {
  readonly lines: Record<string, unknown>[] = [];
  readonly log: Logger = createLogger("info", { write: (line) => this.lines.push(JSON.parse(line)) });

  get events(): readonly unknown[] {
    return this.lines.map(({ event }) => event);
  }
}
