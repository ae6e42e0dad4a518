import { appendFileSync } from "node:fs";
import { createLogger } from "../../../relay/log/log.ts";
import { aborted, watchStopSignals } from "../../../relay/process/stop-signals.ts";
import { supervise } from "../../../relay/process/supervisor.ts";

// Called with names of parts, it supervises them. Each part is this script again, called with `part`. All parts write what they
// do to one file:
//   unable    exits with 4 at once
//   stuck     ignores signals
//   stubborn  writes that it was asked to stop, and goes on
//   starting  handles no signals yet
//   slow      exits with 5 on a signal
//   any other exits with 0 on a signal

const [command, journal, ...names] = process.argv.slice(2);

if (command === "part") {
  const [name] = names;
  const write = (what: string) => appendFileSync(journal, `${name} ${what} ${process.pid}\n`);
  if (name === "stuck") process.on("SIGTERM", () => {});
  // Before it writes that it has started: from then on a signal may arrive, which would kill it otherwise.
  const stopped = name === "starting" ? new Promise(() => {}) : aborted(watchStopSignals().stop);
  write("started");
  if (name === "unable") process.exit(4);
  while (name === "stuck");
  const alive = setInterval(() => {}, 1_000);
  await stopped;
  if (name === "stubborn") {
    write("asked");
    await new Promise(() => {});
  }
  clearInterval(alive);
  write("stopped");
  process.exit(name === "slow" ? 5 : 0);
} else {
  const signals = watchStopSignals();
  const parts = names.map((name) => ({ name, args: ["part", journal, name] }));
  // For an unable part: long enough for any test machine. With 0, no other part counts as unable.
  const startMs = names.includes("unable") ? 60_000 : 0;
  const giveUpMs = names.includes("stuck") ? 1_000 : 30_000;
  process.exitCode = await supervise(parts, createLogger("info"), signals, { startMs, giveUpMs });
  process.exit();
}
