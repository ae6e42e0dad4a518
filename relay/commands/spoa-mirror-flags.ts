import { type Command, Option } from "commander";

/** Flags of spoa-mirror that `mirror` does not have, and what to use instead. The advice is the same with and without a value. */
const replacements: readonly (readonly [flags: string, advice: string])[] = [
  [
    "-m, --max-frame-size [size]",
    "set agent.maxFrame in a configuration file and run spoa-relay up; its default fits any tune.bufsize up to 16 MiB",
  ],
  [
    "-n, --num-workers [n]",
    "set agent.workers in a configuration file and run spoa-relay up; one worker is enough for most",
  ],
  ["-l, --logfile [file]", "the log is one JSON line per event on standard output; redirect it"],
  ["-L, --access-log [file]", "spoa-relay stats says what happened to every request"],
  [
    "-d, --debug [flags]",
    "set log: debug in a configuration file and run spoa-relay up, or run spoa-relay agent --dump",
  ],
  ["-i, --monitor-interval [time]", "read /metrics on the admin address at any interval"],
  ["-D, --daemonize", "run it as a service; the package has systemd units in agent/systemd"],
  ["-F, --pidfile [file]", "run it as a service; the package has systemd units in agent/systemd"],
  ["-c, --capability [name]", "leave it out: pipelining and fragmentation are always on, async is always off"],
  ["-t, --processing-delay [time]", "leave it out: the agent acknowledges at once"],
  ["-b, --connection-backlog [n]", "leave it out: it has no meaning here"],
  ["-B, --libev-backend [name]", "leave it out: it has no meaning here"],
  ["-I, --mirror-interface [name]", "it cannot be chosen here: route the shadow's address in the operating system"],
  ["-P, --mirror-local-port [ports]", "it cannot be chosen here"],
];

/** Makes `command` end with advice if it is called with a flag of spoa-mirror that it does not have. */
export function refuseOtherFlags(command: Command): void {
  for (const [flags, advice] of replacements) {
    const option = new Option(flags).hideHelp();
    command.addOption(option);
    command.on(`option:${option.name()}`, () => {
      const [names] = flags.split(" [");
      command.error(`error: spoa-relay mirror has no ${names.replace(", ", " or ")}: ${advice}`);
    });
  }
}
