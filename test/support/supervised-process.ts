import { appendFileSync } from "node:fs";
import { createLogger } from "../../relay/log.ts";
import { firstSignal } from "../../relay/service.ts";
import { supervise } from "../../relay/supervisor.ts";

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
  write("started");
  if (name === "unable") process.exit(4);
  if (name === "stuck") {
    process.on("SIGTERM", () => {});
    for (;;);
  }
  const alive = setInterval(() => {}, 1_000);
  await firstSignal();
  clearInterval(alive);
  write("stopped");
  process.exit(name === "slow" ? 5 : 0);
} else {
  const stop = new AbortController();
  firstSignal().then(() => stop.abort());
  const parts = names.map((name) => ({ name, args: ["part", journal, name] }));
  process.exitCode = await supervise(
    parts,
    createLogger("info"),
    stop.signal,
    names.includes("stuck") ? 1_000 : undefined,
  );
  process.exit();
}
