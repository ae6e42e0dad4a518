import { createLogger, type Logger } from "../../../relay/log/log.ts";

/** A log that is kept, an object a line. */
export class LogLines {
  readonly lines: Record<string, unknown>[] = [];
  readonly log: Logger = createLogger("info", { write: (line) => this.lines.push(JSON.parse(line)) });

  get events(): readonly unknown[] {
    return this.lines.map(({ event }) => event);
  }
}
