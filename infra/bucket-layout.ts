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
  /** The keys of all its objects begin with it. */
  readonly prefix: string;
  readonly keepDays: number;
}

const dayMs = 24 * 60 * 60 * 1_000;

/** One bucket for all captures that name it, in the account of the ingress queue. Throws `ConfigError`. */
export function toBuckets(captures: readonly CaptureConfig[], home: Place, file: string): readonly BucketLayout[] {
  const buckets = new Map<string, BucketLayout>();
  for (const { name, store, keepMs } of captures) {
    if (store.kind !== "s3") continue;
    const { bucket, prefix = "", region = home.region } = store;
    const known = buckets.get(bucket);
    if (known && known.region !== region) {
      const message = `is ${region}, but another capture has the bucket ${bucket} in ${known.region}: give both the same region`;
      throw new ConfigError([`${file}: captures.${name}.region: ${message}`]);
    }
    // S3 expires objects by whole days: round up, so that no object is deleted before `keep` is over.
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

/** If several lifecycle rules match an object, S3 applies the shortest: an inner prefix cannot be kept longer than an outer one. */
function assertKept({ name, prefix, keepDays }: KeptCapture, all: readonly KeptCapture[], file: string): void {
  const outer = all.find((one) => prefix.startsWith(one.prefix) && one.keepDays < keepDays);
  if (!outer) return;
  throw new ConfigError([
    `${file}: captures.${name}.store: is inside the prefix of captures.${outer.name}, so S3 would delete its objects after ${outer.keepDays} d instead of ${keepDays} d: give it a prefix of its own`,
  ]);
}
