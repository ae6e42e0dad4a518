import type { FunctionLayout } from "../function-layout.ts";
import type { Layout, StackLayout } from "../layout.ts";
import { ofFunction, ofQueue, ofTable, type WatchedMetric } from "../watched-metric.ts";
import { prices } from "./prices.ts";

/** A metric whose sum costs so much each. */
export interface CostPart {
  readonly metric: WatchedMetric;
  readonly usdEach: number;
}

// A pack is a request of SQS when it is sent, another when it is received, and a tenth when ten are deleted together.
const requestsAPack = 2.1;

/**
 * What makes nearly all of the cost of a stack, as far as it is counted anywhere: SQS, Lambda and DynamoDB. Not in it are S3,
 * traffic between regions and to the internet, logs, metrics and keys.
 */
export function toCostParts(stack: StackLayout, { stacks }: Layout): readonly CostPart[] {
  const [home] = stacks;
  const queues = stacks.flatMap((one) => one.queues).length;
  const [ingress] = home.queues;
  // A pack of the ingress queue becomes one in each other queue at most. Those are of other regions, too.
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
