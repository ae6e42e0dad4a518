import type { Command } from "commander";
import type { DeadLettersAnswer } from "../control/answers.ts";
import type { ControlClient } from "../control/client.ts";
import { formatShown, printable } from "../control/shown-request.ts";
import { ingressQueue } from "../queue/names.ts";
import { type ConfigFlag, Failure, print, withConfig } from "./command-line.ts";
import { withControl } from "./control.ts";

export function addDeadLetters(program: Command): void {
  const dlq = program.command("dlq").description("look at requests that could not be delivered, or send them again");
  withConfig(dlq.command("list"), "list the dead letters of a target, of the ingress queue, or of all")
    .argument("[target]", "or ingress, for packs that came to no target")
    .addHelpText("after", "\nExample: spoa-relay dlq list staging")
    .action(async (target: string | undefined, { config }: ConfigFlag) =>
      withControl(config, (client) => listDeadLetters(client, target)),
    );
  withConfig(dlq.command("show"), "print the requests of a dead letter, without credentials")
    .argument("<target>", "or ingress")
    .argument("<message>", "its number in dlq list")
    .addHelpText("after", "\nExample: spoa-relay dlq show staging 42")
    .action(async (target: string, message: string, { config }: ConfigFlag) =>
      withControl(config, async (client) => {
        const { reason, undecodable, contents } = await client.deadLetter(target, message);
        print(`# ${printable(reason)}`);
        if (undecodable !== undefined) throw new Failure(`it cannot be decoded: ${printable(undecodable)}`);
        for (const request of contents) print(formatShown(request));
      }),
    );
  withConfig(dlq.command("redrive"), "send dead letters again, at the target's rate")
    .argument("<target>", "or ingress: back to where they are fanned out")
    .argument("[message]", "only this one; its number in dlq list")
    .addHelpText("after", "\nExample: spoa-relay dlq redrive staging")
    .action(async (target: string, message: string | undefined, { config }: ConfigFlag) =>
      withControl(config, (client) => redriveAll(client, target, message)),
    );
}

const mostListed = 1_000;
// A call that has moved nothing has looked for five seconds; some of them in a row will not find more.
const idleCalls = 10;

async function listDeadLetters(client: ControlClient, target: string | undefined): Promise<void> {
  const queues = target === undefined ? [ingressQueue, ...(await client.targets()).map(({ name }) => name)] : [target];
  let listed = 0;
  for (const queue of queues) {
    const answer = await client.deadLetters(queue, mostListed);
    listed += Math.max(answer.messages, answer.letters.length);
    printLetters(answer);
  }
  if (listed === 0) print("no dead letters");
}

function printLetters({ queue, messages, letters }: DeadLettersAnswer): void {
  for (const { id, requests, reason, firstCapturedAt = "an unknown time" } of letters) {
    const count = requests === undefined ? "?" : requests;
    print(`${queue}  ${id}  ${count} request(s) from ${printable(firstCapturedAt)}: ${printable(reason)}`);
  }
  if (messages > letters.length) print(`${queue}  and ${messages - letters.length} more`);
}

async function redriveAll(client: ControlClient, target: string, message: string | undefined): Promise<void> {
  const all = { messages: 0, requests: 0, undecodable: 0 };
  for (let idle = 0; ; ) {
    const { messages, requests, undecodable, remaining, done } = await client.redrive(target, message);
    all.messages += messages;
    all.requests += requests;
    all.undecodable += undecodable;
    if (done) break;
    idle = messages === 0 ? idle + 1 : 0;
    if (idle === idleCalls) {
      throw new Failure(`nothing was found for a while; ${remaining} dead letter(s) are left, try again in a minute`);
    }
    process.stderr.write(`${all.messages} dead letter(s) so far, ${all.requests} request(s); ${remaining} left\n`);
  }
  print(`${all.requests} request(s) are back in the queue of ${target}`);
  if (all.undecodable > 0) throw new Failure(`${all.undecodable} dead letter(s) cannot be decoded and stay`);
}
