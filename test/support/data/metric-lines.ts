/** A line of a log in CloudWatch's embedded metric format. */
export interface EmbeddedMetrics {
  readonly _aws: {
    readonly Timestamp: number;
    readonly CloudWatchMetrics: readonly {
      readonly Namespace: string;
      readonly Dimensions: readonly (readonly string[])[];
      readonly Metrics: readonly { readonly Name: string; readonly Unit: string }[];
    }[];
  };
  readonly [member: string]: unknown;
}

export function isEmbeddedMetrics(line: unknown): line is EmbeddedMetrics {
  return typeof line === "object" && line !== null && "_aws" in line;
}

/** Reads lines as CloudWatch does: values by `NAMESPACE NAME {DIMENSION=VALUE}`, added up or joined over all lines. */
export function toCloudWatch(lines: readonly unknown[]): Record<string, number | readonly number[]> {
  const values: Record<string, number | readonly number[]> = {};
  for (const line of lines.filter(isEmbeddedMetrics)) {
    for (const { Namespace, Dimensions, Metrics } of line._aws.CloudWatchMetrics) {
      for (const { Name } of Metrics) {
        for (const dimensions of Dimensions) {
          const where = dimensions.map((dimension) => `${dimension}=${line[dimension]}`).join();
          const key = `${Namespace} ${Name}${where && ` {${where}}`}`;
          const value = line[Name] as number | readonly number[];
          const before = values[key];
          if (Array.isArray(value)) values[key] = [...((before as readonly number[]) ?? []), ...value];
          else values[key] = ((before as number) ?? 0) + (value as number);
        }
      }
    }
  }
  return values;
}
