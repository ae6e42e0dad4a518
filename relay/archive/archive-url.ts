/** An S3 bucket, or a folder of one, as a configuration names it. */
export interface BucketFolder {
  readonly bucket: string;
  /** Has no slash at its start or end; empty for the whole bucket. */
  readonly prefix: string;
}

// An S3 key has at most 1,024 characters, of which object names need up to 700.
const maxPrefixLength = 300;

/** Parses `s3://bucket/prefix`; undefined for any other text. */
export function parseBucketUrl(text: string): BucketFolder | undefined {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(text);
  if (!match) return undefined;
  const [, bucket, path = ""] = match;
  const prefix = path.replace(/\/$/, "");
  if (prefix.length > maxPrefixLength) return undefined;
  const parts = prefix === "" ? [] : prefix.split("/");
  // Only characters that never need escaping. Many tools would read a part made of dots as a parent directory.
  return parts.every((part) => /^[A-Za-z0-9!\-_.*'()=]+$/.test(part) && !/^\.+$/.test(part))
    ? { bucket, prefix }
    : undefined;
}
