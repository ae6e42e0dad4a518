import { resolve } from "node:path";
import { isMainThread } from "node:worker_threads";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { runAgent } from "../agent/agent.ts";
import { startHost } from "../functions/host.ts";
import packageJson from "../package.json" with { type: "json" };
import { fetchAdmin, formatAddress } from "./admin-client.ts";
import type { AgentStats } from "./agent-stats.ts";
import { addsUp, formatEquations, toEquations } from "./balance.ts";
import { assertAuthorities, configJsonSchema, loadConfig } from "./config.ts";
import { ConfigError } from "./config-text.ts";
import { describeDeadLetter, redrive } from "./dead-letters.ts";
import { DecodeError } from "./decode-error.ts";
import { runDemo } from "./demo/demo.ts";
import { demoPorts } from "./demo/ports.ts";
import type { HostStats } from "./host-stats.ts";
import { createLogger } from "./log.ts";
import { readMessage } from "./message.ts";
import { parseRuntimeMs, writeMirrorConfig } from "./mirror.ts";
import type { EmbeddedQueue } from "./queue/embedded.ts";
import { ingressQueue } from "./queue/names.ts";
import { formatRequest } from "./request-text.ts";
import { agentNodeFlags, firstSignal, runService } from "./service.ts";
import { openStores, type Stores } from "./stores.ts";
import { supervise } from "./supervisor.ts";

// The command line: the one file of relay/ that looks outward, at agent/ and functions/.

/** Beside this file and beside the bundle alike. */
const haproxyDirectory = resolve(import.meta.dirname, "../agent/haproxy");

const exitCodes = `
Exit codes: 0 done, 1 failed, 2 wrong argument or configuration`;

class Failure extends Error {}

function createProgram(): Command {
  const program = new Command("spoa-relay")
    .description("Mirrors live HTTP traffic from HAProxy to shadow environments.")
    .addHelpText("after", `\nExample: spoa-relay up --config spoa-relay.yaml${exitCodes}`)
    .version(packageJson.version)
    .exitOverride()
    .showHelpAfterError("(--help shows what is possible)");
  addServices(program);
  addMirror(program);
  addConfig(program);
  addStats(program);
  addDeadLetters(program);
  addDemo(program);
  return program;
}

function addServices(program: Command): void {
  withConfig(program.command("agent"), "receive requests from HAProxy and enqueue them")
    .addHelpText("after", "\nExample: spoa-relay agent --config /etc/spoa-relay.yaml")
    .option("--dump", "print the requests instead of enqueueing them; the log goes to standard error")
    .action(async ({ config, dump }: ConfigFlag & { dump?: boolean }) => exit(await runAgent(config, dump === true)));
  withConfig(program.command("host"), "fan out what is enqueued and replay it to the targets")
    .addHelpText("after", "\nExample: spoa-relay host --config /etc/spoa-relay.yaml")
    .action(async ({ config }: ConfigFlag) => exit(await runService(config, startHost)));
  withConfig(program.command("up"), "agent and host, in separate processes")
    .addHelpText("after", "\nExample: spoa-relay up --config spoa-relay.yaml")
    .action(async ({ config }: ConfigFlag) => exit(await runUp(config)));
}

function addMirror(program: Command): void {
  program
    .command("mirror")
    .description("mirror everything to one URL, with the flags of spoa-mirror")
    .requiredOption("-u, --mirror-url <url>", "the shadow", parseUrl)
    .option(
      "-r, --runtime <time>",
      "how long to run: 30s, 5m, 1h; a number alone is milliseconds, 0 for no end",
      parseRuntime,
      0,
    )
    .option("-a, --address <address>", "where the agent listens", "127.0.0.1")
    .option("-p, --port <port>", "port of the agent; the next two are for figures", parsePort, 12345)
    .option("--data <directory>", "where queue and configuration are kept", "./spoa-relay-data")
    .addHelpText("after", "\nExample: spoa-relay mirror -r0 -u http://127.0.0.1:8082 -p 12345")
    .action(async ({ mirrorUrl, runtime, address, port, data }) => {
      const file = writeMirrorConfig({ url: mirrorUrl, address, port, directory: data });
      exit(await runUp(file, runtime > 0 ? AbortSignal.timeout(runtime) : undefined));
    });
}

function addConfig(program: Command): void {
  const config = program.command("config").description("check the configuration, or print its JSON Schema");
  withConfig(config.command("check"), "check a configuration file")
    .addHelpText("after", "\nExample: spoa-relay config check --config spoa-relay.yaml")
    .action(({ config: file }: ConfigFlag) => {
      const checked = loadConfig(file, process.env);
      assertAuthorities(checked);
      const { targets, warnings } = checked;
      for (const warning of warnings) print(`warning: ${warning}`);
      print(`${file} is right: ${targets.length} target(s): ${targets.map(({ name }) => name).join(", ")}`);
    });
  config
    .command("schema")
    .description("print the JSON Schema of spoa-relay.yaml, for editors")
    .addHelpText("after", "\nExample: spoa-relay config schema > spoa-relay.schema.json")
    .action(() => print(JSON.stringify(configJsonSchema(), undefined, 2)));
}

function addStats(program: Command): void {
  withConfig(program.command("stats"), "print the ledger: what became of every request")
    .option("--json", "print the figures as JSON")
    .addHelpText(
      "after",
      "\nExample: spoa-relay stats --config spoa-relay.yaml\nExits with 1 where it does not add up.",
    )
    .action(async ({ config: file, json }: ConfigFlag & { json?: boolean }) => {
      const config = loadConfig(file, process.env);
      const agent = await fetchAdmin<AgentStats>(config.agent.admin, "/stats");
      const host = await fetchAdmin<HostStats>(config.host.admin, "/stats");
      if (!host) {
        throw new Failure(
          `no host answers on ${formatAddress(config.host.admin)}; start it: spoa-relay host --config ${file}`,
        );
      }
      const equations = toEquations(agent, host);
      if (json) print(JSON.stringify({ agent: agent ?? null, host, addsUp: addsUp(equations) }));
      else {
        if (!agent) print(`no agent answers on ${formatAddress(config.agent.admin)}: its side is missing`);
        print(formatEquations(equations, process.stdout));
      }
      if (!addsUp(equations)) exit(1);
    });
}

function addDeadLetters(program: Command): void {
  const dlq = program.command("dlq").description("look at requests that could not be delivered, or send them again");
  withConfig(dlq.command("list"), "list the dead letters of a target, of the ingress queue, or of all")
    .argument("[target]", "or ingress, for packs that came to no target")
    .addHelpText("after", "\nExample: spoa-relay dlq list staging")
    .action(async (target: string | undefined, { config }: ConfigFlag) => {
      let letters = 0;
      await withQueues(config, target, async (name, queue) => {
        for (const letter of allDeadLetters(queue)) {
          letters++;
          const { messageId, requests, reason, firstCapturedAt } = describeDeadLetter(letter);
          print(`${name}  ${messageId}  ${requests} request(s) from ${firstCapturedAt}: ${reason}`);
        }
      });
      if (letters === 0) print("no dead letters");
    });
  withConfig(dlq.command("show"), "print the requests of a dead letter, without credentials")
    .argument("<target>", "or ingress")
    .argument("<message>", "its number in dlq list")
    .addHelpText("after", "\nExample: spoa-relay dlq show staging 42")
    .action(async (target: string, message: string, { config }: ConfigFlag) => {
      await withQueues(config, target, async (_name, queue) => {
        const letter = [...allDeadLetters(queue)].find(({ messageId }) => messageId === message);
        if (!letter) throw new Failure(`${target} has no dead letter ${message}; dlq list ${target} shows them`);
        print(`# ${describeDeadLetter(letter).reason}`);
        const pack = readMessage(letter);
        if (pack instanceof DecodeError) throw new Failure(`it cannot be decoded: ${pack.message}`);
        for (const request of pack.requests) print(formatRequest(request));
      });
    });
  withConfig(dlq.command("redrive"), "send dead letters again, at the target's rate")
    .argument("<target>", "or ingress: back to where they are fanned out")
    .argument("[message]", "only this one; its number in dlq list")
    .addHelpText("after", "\nExample: spoa-relay dlq redrive staging")
    .action(async (target: string, message: string | undefined, { config }: ConfigFlag) => {
      await withQueues(config, target, async (name, queue, { ingress, state }) => {
        // What came to no target has no fate that would have to be taken back.
        const [into, ledger] = name === ingressQueue ? [ingress.queue, undefined] : [queue, state];
        const { requests, undecodable } = await redrive(name, into, queue.deadLetters, ledger, message);
        print(`${requests} request(s) are back in the queue of ${name}`);
        if (undecodable > 0) throw new Failure(`${undecodable} dead letter(s) cannot be decoded and stay`);
        if (message !== undefined && requests === 0) throw new Failure(`${target} has no dead letter ${message}`);
      });
    });
}

function addDemo(program: Command): void {
  program
    .command("demo")
    .description("HAProxy, a primary and shadows on this machine, and traffic that shows what is mirrored")
    .option("--stay", "leave it running until Ctrl+C")
    .option("--ports <first>", "use eight ports from this one on instead of the usual ones", parsePort)
    .addHelpText("after", "\nExample: spoa-relay demo --ports 20000 --stay")
    .action(async ({ stay, ports }: { stay?: boolean; ports?: number }) => {
      const ended = new AbortController();
      if (stay) firstSignal().then(() => ended.abort());
      const held = await runDemo({
        ports: demoPorts(ports),
        haproxyDirectory,
        searchPath: process.env.PATH ?? "",
        stay: stay ? ended.signal : undefined,
        out: process.stdout,
      });
      exit(held ? 0 : 1);
    });
}

interface ConfigFlag {
  readonly config: string;
}

function withConfig(command: Command, description: string): Command {
  return command.description(description).option("-c, --config <file>", "configuration", "spoa-relay.yaml");
}

async function runUp(configFile: string, end?: AbortSignal): Promise<number> {
  const config = loadConfig(configFile, process.env);
  assertAuthorities(config);
  const log = createLogger(config.log);
  const stop = new AbortController();
  firstSignal().then(() => stop.abort());
  end?.addEventListener("abort", () => stop.abort());
  const code = await supervise(
    [
      { name: "agent", args: ["agent", "--config", configFile], nodeFlags: agentNodeFlags },
      { name: "host", args: ["host", "--config", configFile] },
    ],
    log,
    stop.signal,
  );
  await new Promise<void>((done) => log.flush(() => done()));
  return code;
}

async function withQueues(
  configFile: string,
  target: string | undefined,
  work: (name: string, queue: EmbeddedQueue, stores: Stores) => Promise<void>,
): Promise<void> {
  const config = loadConfig(configFile, process.env);
  if (target !== undefined && target !== ingressQueue && !config.targets.some(({ name }) => name === target)) {
    const names = config.targets.map(({ name }) => name).join(", ");
    throw new Failure(`there is no target ${target}; ${config.file} has: ${names}; and ${ingressQueue}`);
  }
  const stores = await openStores(config);
  try {
    for (const [name, queue] of [[ingressQueue, stores.localIngress] as const, ...stores.targets]) {
      if (target === undefined || target === name) await work(name, queue, stores);
    }
  } finally {
    stores.close();
  }
}

function* allDeadLetters(queue: EmbeddedQueue) {
  for (let after = "0"; ; ) {
    const letters = queue.deadLetters.list({ max: 100, after });
    yield* letters;
    const last = letters.at(-1);
    if (!last) return;
    after = last.messageId;
  }
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url?.username || url?.password) {
    throw new InvalidArgumentError(
      "It cannot have a user or a password: set the header Authorization in a file of yours.",
    );
  }
  if (url?.search || url?.hash) throw new InvalidArgumentError("It cannot have a query or a fragment, only a path.");
  if (url && /^https?:$/.test(url.protocol)) return url;
  throw new InvalidArgumentError("It has to be a URL such as http://127.0.0.1:8082.");
}

function parseRuntime(text: string): number {
  const runtimeMs = parseRuntimeMs(text);
  if (runtimeMs !== undefined) return runtimeMs;
  throw new InvalidArgumentError("It has to be seconds, or a time such as 5m.");
}

function parsePort(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port <= 65_500) return port;
  throw new InvalidArgumentError("It has to be a port from 1 to 65500.");
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function exit(code: number): void {
  process.exitCode = code;
}

async function main(): Promise<void> {
  try {
    await createProgram().parseAsync();
  } catch (error) {
    // commander has printed what is wrong; its own code is 1 for that, ours is 2. Help and version are no errors.
    if (error instanceof CommanderError) return exit(error.exitCode === 0 ? 0 : 2);
    process.stderr.write(`${(error as Error).message}\n`);
    exit(error instanceof ConfigError ? 2 : 1);
  }
}

// The shipper's thread loads this file, too, when all of the program is bundled into it.
if (isMainThread) {
  // `| head` closes the pipe when it has seen enough.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  await main();
  process.exit();
}
