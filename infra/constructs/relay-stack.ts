import { type App, Stack, Tags } from "aws-cdk-lib";
import type { StackLayout } from "../layout.ts";
import { AgentPolicy } from "./agent-policy.ts";
import { Alarms } from "./alarms.ts";
import { CapturesBucket } from "./captures-bucket.ts";
import { ControlUrl } from "./control-url.ts";
import { RelayDashboard } from "./dashboard.ts";
import { MinuteSchedule } from "./minute-schedule.ts";
import { PackQueue } from "./pack-queue.ts";
import type { RelayContext } from "./relay-context.ts";
import { RelayFunction } from "./relay-function.ts";
import { RelayKey } from "./relay-key.ts";
import { StateTable } from "./state-table.ts";

/** All that is made in one region of one account. */
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
      // The mapping has the name of its queue only, and Lambda asks the queue when it makes it.
      if (one.reads) made.mapping?.node.addDependency(this.node.findChild(PackQueue.idOf(one.reads.queue)));
      // For the same reason for which the stacks of other places come first.
      if (one.kind === "fanout") made.function.node.addDependency(...queues);
      if (one.kind === "schedule") new MinuteSchedule(this, one).node.addDependency(made);
      if (one.kind === "control") new ControlUrl(this, made.function);
    }
    new Alarms(this, layout, key, context);
    RelayDashboard.addTo(this, layout, context);
    if (!layout.table) return;
    // Last: it is protected against deletion, so that a deployment which fails behind it could not be taken back.
    const others = this.node.children;
    new StateTable(this, layout.table, here).node.addDependency(...others);
  }
}
