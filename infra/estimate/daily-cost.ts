import type { FunctionLayout } from "../function-layout.ts";
import type { Layout, StackLayout } from "../layout.ts";
import { ofFunction, ofQueue, ofTable, type WatchedMetric } from "../watched-metric.ts";
import { prices } from "./prices.ts";

/** A metric, and the price of each unit that it counts. */
export interface CostPart {
  readonly metric: WatchedMetric;
  readonly usdEach: number;
}

// Requests to SQS for a pack: one to send it, one to receive it, and a tenth to delete it, since ten are deleted together.
const requestsAPack = 2.1;

/**
 * The costs that CloudWatch counts: SQS, Lambda and DynamoDB, nearly all of what a stack costs. S3, traffic between regions
 * and to the internet, logs, metrics and keys are left out.
 */
export function toCostParts(stack: StackLayout, { stacks }: Layout): readonly CostPart[] {
  const [home] = stacks;
  const queues = stacks.flatMap((one) => one.queues).length;
  const [ingress] = home.queues;
  // A pack in the ingress queue becomes at most one pack in each other queue, in whatever region that is.
  const packs =
    stack === home
      ? [
          {
            metric: ofQueue(ingress, "NumberOfMessagesSent", "Sum"),
            usdEach: queues * requestsAPack * prices.sqsRequest,
          },
        ]
      : [];
  const functions = stack.functions.filter(({ kind }) => kind !== "control").map(toFunctionPart);
  const table = stack.table
    ? [
        { metric: ofTable(stack.table, "ConsumedWriteCapacityUnits"), usdEach: prices.dynamoDbWrite },
        { metric: ofTable(stack.table, "ConsumedReadCapacityUnits"), usdEach: prices.dynamoDbRead },
      ]
    : [];
  return [...packs, ...functions, ...table];
}

function toFunctionPart(one: FunctionLayout): CostPart {
  const gb = one.memoryMb / 1_024;
  return { metric: ofFunction(one, "Duration", "Sum"), usdEach: (gb * prices.lambdaGbSecond) / 1_000 };
}
