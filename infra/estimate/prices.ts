// AWS list prices in US dollars, first tier, without the free tier. Other regions are mostly up to a quarter more expensive,
// São Paulo up to twice: an estimate for other regions uses these prices and says so.

/** The region of these prices. */
export const pricedRegion = "us-east-1";

/** The month of these prices. */
export const pricedMonth = "2026-06";

const million = 1e6;

export const prices = {
  /** https://aws.amazon.com/sqs/pricing: a request to a standard queue; each 64 KiB of payload counts as one. */
  sqsRequest: 0.4 / million,
  /** https://aws.amazon.com/lambda/pricing: an invocation. */
  lambdaInvocation: 0.2 / million,
  /** The same page: memory in GB times seconds, arm64. */
  lambdaGbSecond: 0.0000133334,
  /** https://aws.amazon.com/dynamodb/pricing/on-demand: up to 1 KB written, standard table class. */
  dynamoDbWrite: 0.625 / million,
  /** The same page: up to 4 KB, strongly consistent. */
  dynamoDbRead: 0.125 / million,
  /** The same page: a GB stored for a month, $0.25, and its point-in-time recovery, $0.20. */
  dynamoDbGbMonth: 0.45,
  /** https://aws.amazon.com/s3/pricing: PUT and LIST, standard storage class. */
  s3Write: 5 / million,
  /** The same page: GET. */
  s3Read: 0.4 / million,
  /** The same page: a GB stored for a month. */
  s3GbMonth: 0.023,
  /** https://aws.amazon.com/ec2/pricing/on-demand, data transfer: a GB to another region. */
  otherRegionGb: 0.02,
  /** The same page: a GB to the internet. */
  internetGb: 0.09,
  /** https://aws.amazon.com/cloudwatch/pricing: a GB of logs ingested. */
  logsGb: 0.5,
  /** The same page: a custom metric for a month. */
  metricMonth: 0.3,
  /** The same page: a metric that an alarm reads, for a month. */
  alarmMonth: 0.1,
  /** The same page: a dashboard for a month. */
  dashboardMonth: 3,
  /** https://aws.amazon.com/eventbridge/pricing: an invocation by the scheduler. */
  schedulerInvocation: 1 / million,
  /** https://aws.amazon.com/kms/pricing: a customer managed key. */
  keyMonth: 1,
} as const;

/** `1.3 million`, `52,000`, `4.2`: as much as an estimate can know. */
export function count(value: number): string {
  const [shown, unit] = value >= 1e6 ? [value / 1e6, " million"] : [value, ""];
  return `${shown.toLocaleString("en-US", { maximumSignificantDigits: shown >= 1_000 ? 4 : 3 })}${unit}`;
}

export function usd(value: number): string {
  return `$${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}
