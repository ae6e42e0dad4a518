import { appendFileSync } from "node:fs";
import { createLogger } from "../../../relay/log/log.ts";
import { firstSignal, stopSignal } from "../../../relay/process/service.ts";
import { supervise } from "../../../relay/process/supervisor.ts";

// Called with names of parts it supervises them; they are this script again, called with `part`, which all write to one
// file what they do:
//   unable    ends with 4 at once
//   stuck     never looks at what it is told
//   slow      ends with 5 when it is told to stop
//   any other ends with 0 when it is told to stop

const [command, journal, ...names] = process.argv.slice(2);

if (command === "part") {
  const [name] = names;
  const write = (what: string) => appendFileSync(journal, `${name} ${what} ${process.pid}\n`);
  if (name === "stuck") process.on("SIGTERM", () => {});
  // Before anybody hears that it has started: a signal would end it.
  const told = firstSignal();
  write("started");
  if (name === "unable") process.exit(4);
  while (name === "stuck");
  const alive = setInterval(() => {}, 1_000);
  await told;
  clearInterval(alive);
  write("stopped");
  process.exit(name === "slow" ? 5 : 0);
} else {
  const stop = stopSignal();
  const parts = names.map((name) => ({ name, args: ["part", journal, name] }));
  // Of an unable one: however slow the machine is. Others are never taken for one.
  const startMs = names.includes("unable") ? 60_000 : 0;
  const giveUpMs = names.includes("stuck") ? 1_000 : 30_000;
  process.exitCode = await supervise(parts, createLogger("info"), stop, { startMs, giveUpMs });
  process.exit();
}
