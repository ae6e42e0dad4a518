/** A bucket of S3, or a folder of one, as it stands in a configuration. */
export interface BucketFolder {
  readonly bucket: string;
  /** Without slashes at its ends; empty for all of the bucket. */
  readonly prefix: string;
}

// What names leave of the 1,024 characters of a key.
const maxPrefixLength = 300;

/** `s3://bucket/prefix`; undefined for anything that is none. */
export function parseBucketUrl(text: string): BucketFolder | undefined {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(text);
  if (!match) return undefined;
  const [, bucket, path = ""] = match;
  const prefix = path.replace(/\/$/, "");
  if (prefix.length > maxPrefixLength) return undefined;
  const parts = prefix === "" ? [] : prefix.split("/");
  // The characters that need no escapes anywhere; a part of dots alone would be read as a step up by many a tool.
  return parts.every((part) => /^[A-Za-z0-9!\-_.*'()=]+$/.test(part) && !/^\.+$/.test(part))
    ? { bucket, prefix }
    : undefined;
}
