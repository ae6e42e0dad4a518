/** The account and region of a resource. */
export interface Place {
  readonly account: string;
  readonly region: string;
}

/** The second part of an ARN: China and GovCloud are partitions of their own. */
export function partitionOf(region: string): string {
  if (region.startsWith("cn-")) return "aws-cn";
  return region.startsWith("us-gov-") ? "aws-us-gov" : "aws";
}

export function toArn({ account, region }: Place, service: string, resource: string): string {
  return `arn:${partitionOf(region)}:${service}:${region}:${account}:${resource}`;
}

export function isSamePlace(a: Place, b: Place): boolean {
  return a.account === b.account && a.region === b.region;
}
