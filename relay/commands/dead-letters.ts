import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import type { DeadLettersAnswer, SweepAnswer } from "../control/answers.ts";
import type { ControlClient } from "../control/client.ts";
import { formatShown, printable } from "../pack/request-text.ts";
import { ingressQueue } from "../queue/names.ts";
import { type ConfigFlag, Failure, formatTable, plural, print, withConfig } from "./command-line.ts";
import { withControl, withFlagNames } from "./control.ts";

export function addDeadLetters(program: Command): void {
  const dlq = program
    .command("dlq")
    .description(
      "list requests that could not be delivered (dead letters), show them, send them again, or discard them",
    );
  withConfig(dlq.command("list"), "list the dead letters of one target, of the ingress queue, or of all")
    .argument("[target]", "a target, or ingress for packs that could not be fanned out (default: all)")
    .addHelpText("after", `${aboutRemoved}\n\nExample: spoa-relay dlq list staging`)
    .action(async (target: string | undefined, { config }: ConfigFlag) =>
      withControl(config, (client) => listDeadLetters(client, target)),
    );
  withConfig(dlq.command("show"), "print the requests of a dead letter, without what looks like a secret")
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
    .option("--to <target>", "another target to send them to, which gets the requests that it has not had yet")
    .addHelpText(
      "after",
      `${aboutRemoved} Redrive them with --to.\n\nExamples:\n  spoa-relay dlq redrive staging\n  spoa-relay dlq redrive old --to staging`,
    )
    .action(async (target: string, id: string | undefined, { config, to }: ConfigFlag & { to?: string }) =>
      withControl(config, (client) => redriveAll(client, target, { id, to })),
    );
  withConfig(dlq.command("discard"), "remove dead letters for good; the ledger counts their requests as discarded")
    .argument("<target>", "a target; the packs of ingress cannot be discarded")
    .argument("[message]", "only this dead letter; the id that dlq list prints")
    .option("-y, --yes", "do not ask; required without a terminal")
    .addHelpText("after", `${aboutRemoved}\nDiscarding cannot be undone.\n\nExample: spoa-relay dlq discard old --yes`)
    .action(async (target: string, id: string | undefined, flags: ConfigFlag & { yes?: boolean }, command: Command) => {
      if (!flags.yes && !process.stdin.isTTY) {
        command.error("error: discarding cannot be undone: confirm it with --yes");
      }
      await withControl(flags.config, (client) => discardAll(client, target, { id, asks: !flags.yes }));
    });
}

const aboutRemoved =
  "\nIf a target is no longer in the configuration, the requests that wait in its queue are listed as dead letters, too.";
const mostListed = 1_000;
// A call that moves nothing has searched for 5 s; after this many in a row, the command gives up.
const idleCalls = 10;

async function listDeadLetters(client: ControlClient, target: string | undefined): Promise<void> {
  const queues = target === undefined ? await allQueues(client) : [target];
  const answers: DeadLettersAnswer[] = [];
  for (const queue of queues) answers.push(await client.deadLetters(queue, mostListed));
  const rows = answers.flatMap(toRows);
  if (rows.length === 0) return print("no dead letters");
  print(formatTable([["target", "message", "requests", "first captured at", "reason"], ...rows], process.stdout));
  for (const { queue, messages, letters } of answers) {
    if (messages > letters.length) print(`${queue} has ${plural(messages - letters.length, "more dead letter")}`);
  }
}

/** The ingress queue, the targets, and those that are no longer in the configuration but have requests. */
async function allQueues(client: ControlClient): Promise<readonly string[]> {
  const { targets, removed = {} } = await client.ledger();
  return [ingressQueue, ...Object.keys(targets), ...Object.keys(removed)];
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

interface Which {
  readonly id: string | undefined;
}

async function redriveAll(
  client: ControlClient,
  target: string,
  { id, to }: Which & { readonly to: string | undefined },
): Promise<void> {
  const all = await withFlagNames(["to"], () =>
    callUntilDone((startedAt) => client.redrive(target, { id, to, startedAt }), "sent again"),
  );
  print(`${plural(all.requests, "request")} moved ${to === undefined ? "back " : ""}to the queue of ${to ?? target}`);
  reportRest(all, id === undefined ? all.remaining - all.newer - all.undecodable : 0);
  if (all.undecodable > 0) {
    throw new Failure(
      `not moved: ${plural(all.undecodable, "dead letter")} that cannot be decoded; spoa-relay dlq list ${target} has the reasons`,
    );
  }
}

async function discardAll(
  client: ControlClient,
  target: string,
  { id, asks }: Which & { readonly asks: boolean },
): Promise<void> {
  const { messages } = await client.deadLetters(target, 1);
  const what = id === undefined ? plural(messages, "dead letter") : `dead letter ${id}`;
  if (asks && !(await isConfirmed(`Discard ${what} of ${target} for good?`)))
    throw new Failure("nothing was discarded");
  const all = await callUntilDone((startedAt) => client.discard(target, { id, startedAt }), "discarded");
  print(`${plural(all.requests, "request")} of ${target} discarded`);
  if (all.undecodable > 0) print(`also ${plural(all.undecodable, "dead letter")} that could not be decoded`);
  reportRest(all, id === undefined ? all.remaining - all.newer : 0);
}

async function isConfirmed(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(?:es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim());
  } finally {
    terminal.close();
  }
}

/** Repeats a call until it has seen all dead letters; prints the progress. */
async function callUntilDone(
  call: (startedAt: string | undefined) => Promise<SweepAnswer>,
  done: string,
): Promise<SweepAnswer> {
  const all = { messages: 0, requests: 0, obsolete: 0, undecodable: 0, newer: 0 };
  let startedAt: string | undefined;
  for (let idle = 0; ; ) {
    const answer = await call(startedAt);
    for (const name of Object.keys(all) as (keyof typeof all)[]) all[name] += answer[name];
    startedAt = answer.startedAt;
    if (answer.done) return { ...answer, ...all };
    idle = answer.messages + answer.obsolete === 0 ? idle + 1 : 0;
    if (idle === idleCalls) {
      throw new Failure(`the queue returns no more dead letters now; ${answer.remaining} left, try again in a minute`);
    }
    process.stderr.write(
      `${plural(all.messages, "dead letter")} ${done} (${plural(all.requests, "request")}); ${answer.remaining} left\n`,
    );
  }
}

/** @param hidden the dead letters that are left although the queue returned no more */
function reportRest({ obsolete, newer }: SweepAnswer, hidden: number): void {
  if (obsolete > 0) {
    print(`removed: ${plural(obsolete, "dead letter")} whose requests have been answered or sent again since`);
  }
  if (newer > 0) print(`left: ${plural(newer, "dead letter")} newer than the start of this command`);
  if (hidden > 0) {
    print(
      `left: ${plural(hidden, "pack")} hidden by an earlier try, counted late by SQS, or new; repeat this in a minute`,
    );
  }
}
