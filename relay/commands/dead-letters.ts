import type { Command } from "commander";
import type { DeadLettersAnswer } from "../control/answers.ts";
import type { ControlClient } from "../control/client.ts";
import { formatShown, printable } from "../pack/request-text.ts";
import { ingressQueue } from "../queue/names.ts";
import { type ConfigFlag, Failure, formatTable, plural, print, withConfig } from "./command-line.ts";
import { withControl } from "./control.ts";

export function addDeadLetters(program: Command): void {
  const dlq = program
    .command("dlq")
    .description("list requests that could not be delivered (dead letters), show them, or send them again");
  withConfig(dlq.command("list"), "list the dead letters of one target, of the ingress queue, or of all")
    .argument("[target]", "a target, or ingress for packs that could not be decoded (default: all)")
    .addHelpText("after", "\nExample: spoa-relay dlq list staging")
    .action(async (target: string | undefined, { config }: ConfigFlag) =>
      withControl(config, (client) => listDeadLetters(client, target)),
    );
  withConfig(dlq.command("show"), "print the requests of a dead letter, with their credentials left out")
    .argument("<target>", "a target, or ingress")
    .argument("<message>", "the id that dlq list prints")
    .addHelpText("after", "\nExample: spoa-relay dlq show staging 42")
    .action(async (target: string, message: string, { config }: ConfigFlag) =>
      withControl(config, async (client) => {
        const { reason, undecodable, contents } = await client.deadLetter(target, message);
        print(`# ${printable(reason)}`);
        if (undecodable !== undefined)
          throw new Failure(`dead letter ${message} cannot be decoded: ${printable(undecodable)}`);
        for (const request of contents) print(formatShown(request));
      }),
    );
  withConfig(dlq.command("redrive"), "send dead letters again, at the target's rate")
    .argument("<target>", "a target, or ingress to fan the packs out again")
    .argument("[message]", "only this dead letter; the id that dlq list prints")
    .addHelpText("after", "\nExample: spoa-relay dlq redrive staging")
    .action(async (target: string, message: string | undefined, { config }: ConfigFlag) =>
      withControl(config, (client) => redriveAll(client, target, message)),
    );
}

const mostListed = 1_000;
// A call that moves nothing has searched for 5 s; after this many in a row, the command gives up.
const idleCalls = 10;

async function listDeadLetters(client: ControlClient, target: string | undefined): Promise<void> {
  const queues = target === undefined ? [ingressQueue, ...(await client.targets()).map(({ name }) => name)] : [target];
  const answers: DeadLettersAnswer[] = [];
  for (const queue of queues) answers.push(await client.deadLetters(queue, mostListed));
  const rows = answers.flatMap(toRows);
  if (rows.length === 0) return print("no dead letters");
  print(formatTable([["target", "message", "requests", "first captured at", "reason"], ...rows], process.stdout));
  for (const { queue, messages, letters } of answers) {
    if (messages > letters.length) print(`${queue} has ${plural(messages - letters.length, "more dead letter")}`);
  }
}

function toRows({ queue, letters }: DeadLettersAnswer): readonly string[][] {
  return letters.map(({ id, requests, reason, firstCapturedAt }) => [
    queue,
    id,
    `${requests ?? "?"}`,
    firstCapturedAt === undefined ? "?" : printable(firstCapturedAt),
    printable(reason),
  ]);
}

async function redriveAll(client: ControlClient, target: string, id: string | undefined): Promise<void> {
  const all = { messages: 0, requests: 0, obsolete: 0, undecodable: 0, newer: 0 };
  let startedAt: string | undefined;
  for (let idle = 0; ; ) {
    const answer = await client.redrive(target, { id, startedAt });
    for (const name of Object.keys(all) as (keyof typeof all)[]) all[name] += answer[name];
    startedAt = answer.startedAt;
    if (answer.done) break;
    idle = answer.messages + answer.obsolete === 0 ? idle + 1 : 0;
    if (idle === idleCalls) {
      throw new Failure(`the queue returns no more dead letters now; ${answer.remaining} left, try again in a minute`);
    }
    process.stderr.write(
      `${plural(all.messages, "dead letter")} sent again (${plural(all.requests, "request")}); ${answer.remaining} left\n`,
    );
  }
  print(`${plural(all.requests, "request")} moved back to the queue of ${target}`);
  if (all.obsolete > 0) {
    print(`removed: ${plural(all.obsolete, "dead letter")} whose requests have been answered or sent again since`);
  }
  if (all.newer > 0) print(`left: ${plural(all.newer, "dead letter")} newer than this redrive`);
  if (all.undecodable > 0) {
    throw new Failure(
      `not moved: ${plural(all.undecodable, "dead letter")} that cannot be decoded; spoa-relay dlq list ${target} has the reasons`,
    );
  }
}
