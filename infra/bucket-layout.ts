import type { CaptureConfig } from "../relay/config/config.ts";
import { ConfigError } from "../relay/config/text.ts";
import { type Place, partitionOf } from "./place.ts";

/** A bucket of captures. */
export interface BucketLayout extends Place {
  readonly name: string;
  readonly arn: string;
  readonly captures: readonly KeptCapture[];
}

interface KeptCapture {
  readonly name: string;
  /** What the keys of its objects begin with. */
  readonly prefix: string;
  readonly keepDays: number;
}

const dayMs = 24 * 60 * 60 * 1_000;

/** Several captures may share a bucket. Its account is that of the ingress queue. Throws `ConfigError`. */
export function toBuckets(captures: readonly CaptureConfig[], home: Place, file: string): readonly BucketLayout[] {
  const buckets = new Map<string, BucketLayout>();
  for (const { name, store, keepMs } of captures) {
    if (store.kind !== "s3") continue;
    const { bucket, prefix = "", region = home.region } = store;
    const known = buckets.get(bucket);
    if (known && known.region !== region) {
      const message = `is in ${region}, and another capture has ${bucket} in ${known.region}`;
      throw new ConfigError([`${file}: captures.${name}.region: ${message}`]);
    }
    // Rules of S3 know days only: an hour more is better than one less.
    const keepDays = Math.ceil(keepMs / dayMs);
    const keyPrefix = `${prefix === "" ? "" : `${prefix}/`}${name}/`;
    buckets.set(bucket, {
      account: home.account,
      region,
      name: bucket,
      arn: `arn:${partitionOf(region)}:s3:::${bucket}`,
      captures: [...(known?.captures ?? []), { name, prefix: keyPrefix, keepDays }],
    });
  }
  for (const { captures: all } of buckets.values()) {
    for (const inner of all) assertKept(inner, all, file);
  }
  return [...buckets.values()];
}

/** Of rules that match an object S3 takes the one by which it goes first. */
function assertKept({ name, prefix, keepDays }: KeptCapture, all: readonly KeptCapture[], file: string): void {
  const outer = all.find((one) => prefix.startsWith(one.prefix) && one.keepDays < keepDays);
  if (!outer) return;
  throw new ConfigError([
    `${file}: captures.${name}.store: is within that of captures.${outer.name}, with which S3 would delete it after ${outer.keepDays} d: keep them beside each other`,
  ]);
}
