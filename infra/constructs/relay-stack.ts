import { type App, Stack, Tags } from "aws-cdk-lib";
import { EventSourceMapping } from "aws-cdk-lib/aws-lambda";
import type { StackLayout, TableLayout } from "../layout.ts";
import { AgentPolicy } from "./agent-policy.ts";
import { Alarms } from "./alarms.ts";
import { CapturesBucket } from "./captures-bucket.ts";
import { ControlUrl } from "./control-url.ts";
import { RelayDashboard } from "./dashboard.ts";
import { MinuteSchedule } from "./minute-schedule.ts";
import { PackQueue } from "./pack-queue.ts";
import type { RelayContext, StackContext } from "./relay-context.ts";
import { RelayFunction } from "./relay-function.ts";
import { RelayKey } from "./relay-key.ts";
import { StateTable } from "./state-table.ts";

/** All resources in one region of one account. */
export class RelayStack extends Stack {
  constructor(app: App, layout: StackLayout, context: RelayContext) {
    const { account, region } = layout;
    super(app, layout.name, { env: { account, region }, description: `spoa-relay, ${context.layout.name}` });
    for (const [name, value] of Object.entries(context.config.deployment.tags)) Tags.of(this).add(name, value);
    const relayKey = RelayKey.in(this, layout, context);
    const key = relayKey?.key;
    const here = { ...context, stack: layout, ...(key && { key }) };
    const queues = layout.queues.map((queue) => new PackQueue(this, queue, here));
    for (const bucket of layout.buckets) new CapturesBucket(this, `Bucket-${bucket.name}`, bucket, here);
    if (layout === context.layout.stacks[0]) new AgentPolicy(this, layout.queues[0], relayKey);
    for (const one of layout.functions) {
      const id = [one.kind, ...(one.target === undefined ? [] : [one.target])].join("-");
      const made = new RelayFunction(this, id, one, here);
      // The mapping only has the ARN of its queue as text, and Lambda reads the queue when it creates the mapping.
      if (one.reads) made.mapping?.node.addDependency(this.node.findChild(PackQueue.idOf(one.reads.queue)));
      // Queues first: a fan-out that knows a queue which does not exist yet would fail for every pack.
      if (one.kind === "fanout") made.function.node.addDependency(...queues);
      if (one.kind === "schedule") new MinuteSchedule(this, one).node.addDependency(made);
      if (one.kind === "control") new ControlUrl(this, made.function);
    }
    new Alarms(this, layout, key, context);
    RelayDashboard.addTo(this, layout, context);
    if (layout.table) this.#addTable(layout.table, here);
  }

  /**
   * After everything but what invokes the functions: the table is protected against deletion, so a first deployment that fails
   * after it cannot be rolled back. Functions that are invoked before it exists would put their packs back.
   */
  #addTable(layout: TableLayout, context: StackContext): void {
    const { children } = this.node;
    const parts = children.flatMap((child) => (child instanceof RelayFunction ? child.node.children : [child]));
    const starters = parts.filter((part) => part instanceof EventSourceMapping || part instanceof MinuteSchedule);
    const table = new StateTable(this, layout, context);
    table.node.addDependency(...parts.filter((part) => !starters.includes(part)));
    for (const starter of starters) starter.node.addDependency(table);
  }
}
