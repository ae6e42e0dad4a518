import {
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import {
  type ArchiveEntry,
  ArchiveError,
  type ArchiveRange,
  assertName,
  assertSize,
  isInRange,
  isName,
  maxObjectBytes,
  type OpenArchive,
  type PutResult,
  toConflict,
} from "./port.ts";
import { isMissingKey, isTaken, toS3Error } from "./s3-error.ts";

export interface S3Place {
  readonly bucket: string;
  /** Put before each name with a `/` in between; empty for none. */
  readonly prefix?: string | undefined;
  /** Undefined to let the SDK find it, for example in AWS_REGION. */
  readonly region?: string | undefined;
  /** Undefined for AWS_ENDPOINT_URL_S3 if it is set, else the region's endpoint. */
  readonly endpoint?: string | undefined;
  /** Time limit of a call, including its retries. */
  readonly callTimeoutMs?: number;
}

// Enough for an object of 65 MiB at 20 Mbit/s.
const defaultCallTimeoutMs = 30_000;
const connectTimeoutMs = 2_000;
const maxAttempts = 3;
const maxSockets = 200;
// S3's limit for keys in one delete or one page of a list.
const keysPerCall = 1_000;

/**
 * An S3 bucket, or a folder of one. Needs s3:PutObject, s3:GetObject, s3:DeleteObject and s3:ListBucket. Finds
 * credentials like every AWS SDK: environment, profile, role.
 */
export class S3Archive implements OpenArchive {
  readonly #place: S3Place;
  readonly #client: S3Client;
  readonly #keyPrefix: string;
  readonly #callTimeoutMs: number;

  /** Sends nothing to S3 before the first use. */
  static open(place: S3Place): S3Archive {
    return new S3Archive(place);
  }

  private constructor(place: S3Place) {
    const { prefix = "", region, endpoint, callTimeoutMs = defaultCallTimeoutMs } = place;
    this.#place = place;
    this.#keyPrefix = prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;
    this.#callTimeoutMs = callTimeoutMs;
    this.#client = new S3Client({
      ...(region !== undefined && { region }),
      ...(endpoint !== undefined && { endpoint, forcePathStyle: !isOfAws(endpoint) }),
      // Envelopes have their own CRC, and not every S3-compatible store supports these checksums.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      retryMode: "standard",
      maxAttempts,
      requestHandler: {
        connectionTimeout: connectTimeoutMs,
        httpAgent: { maxSockets },
        httpsAgent: { maxSockets },
      },
    });
  }

  async put(name: string, bytes: Uint8Array): Promise<PutResult> {
    assertName(name);
    assertSize(name, bytes.length);
    // If-None-Match: never overwrites an existing object, even if two writers race.
    const command = new PutObjectCommand({ ...this.#keyOf(name), Body: bytes, IfNoneMatch: "*" });
    try {
      await this.#call("PutObject", (abortSignal) => this.#client.send(command, { abortSignal }));
      return "stored";
    } catch (error) {
      if (!isTaken((error as ArchiveError).cause)) throw error;
      const existing = await this.get(name);
      // Another put of this name is in progress and has not finished.
      if (!existing) throw error;
      if (Buffer.compare(existing, bytes) !== 0) throw toConflict(name);
      return "existing";
    }
  }

  async get(name: string): Promise<Uint8Array | undefined> {
    assertName(name);
    const command = new GetObjectCommand(this.#keyOf(name));
    return this.#call("GetObject", async (abortSignal) => {
      try {
        const { Body, ContentLength = 0 } = await this.#client.send(command, { abortSignal });
        if (!Body) return new Uint8Array();
        if (ContentLength > maxObjectBytes) {
          // Its body is not read, so the connection cannot be reused.
          (Body as { destroy?: () => void }).destroy?.();
          assertSize(name, ContentLength);
        }
        return await Body.transformToByteArray();
      } catch (error) {
        if (isMissingKey(error)) return undefined;
        throw error;
      }
    });
  }

  async *list(range: ArchiveRange): AsyncGenerator<ArchiveEntry> {
    let left = range.max ?? Number.POSITIVE_INFINITY;
    let token: string | undefined;
    do {
      if (left <= 0) return;
      const page = await this.#page(range, token, Math.min(left, keysPerCall));
      for (const { Key = "", Size = 0 } of page.Contents ?? []) {
        const name = Key.slice(this.#keyPrefix.length);
        if (range.until !== undefined && name >= range.until) return;
        if (!isName(name) || !isInRange(name, range)) continue;
        yield { name, bytes: Size };
        if (--left <= 0) return;
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async delete(names: readonly string[]): Promise<void> {
    names.forEach(assertName);
    for (let start = 0; start < names.length; start += keysPerCall) {
      const Objects = names.slice(start, start + keysPerCall).map((name) => ({ Key: this.#keyPrefix + name }));
      const command = new DeleteObjectsCommand({ Bucket: this.#place.bucket, Delete: { Objects, Quiet: true } });
      const { Errors = [] } = await this.#call("DeleteObject", (abortSignal) =>
        this.#client.send(command, { abortSignal }),
      );
      const failed = Errors.find(({ Code }) => Code !== "NoSuchKey");
      if (failed) {
        const { Code: name = "Error", Message: message = "no reason given" } = failed;
        throw toS3Error({ name, message, $metadata: { httpStatusCode: 200 } }, this.#callOf("DeleteObject"));
      }
    }
  }

  close(): void {
    this.#client.destroy();
  }

  #keyOf(name: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#place.bucket, Key: this.#keyPrefix + name };
  }

  #page(range: ArchiveRange, token: string | undefined, max: number): Promise<ListObjectsV2CommandOutput> {
    const { from } = range;
    const command = new ListObjectsV2Command({
      Bucket: this.#place.bucket,
      Prefix: this.#keyPrefix + range.prefix,
      MaxKeys: max,
      ...(from && { StartAfter: this.#keyPrefix + justBefore(from) }),
      ...(token !== undefined && { ContinuationToken: token }),
    });
    return this.#call("ListBucket", (abortSignal) => this.#client.send(command, { abortSignal }));
  }

  // The SDK's request timeout ends with the headers: a body that stops half-way would block the call forever.
  async #call<T>(action: string, work: (deadline: AbortSignal) => Promise<T>): Promise<T> {
    const deadline = AbortSignal.timeout(this.#callTimeoutMs);
    try {
      return await work(deadline);
    } catch (error) {
      if (error instanceof ArchiveError) throw error;
      const late = new Error(`no answer within ${this.#callTimeoutMs} ms`, { cause: error });
      throw toS3Error(deadline.aborted ? Object.assign(late, { code: "ETIMEDOUT" }) : error, this.#callOf(action));
    }
  }

  #callOf(action: string) {
    return { action, bucket: this.#place.bucket };
  }
}

/** A name shortly before `from`: S3's StartAfter is exclusive, while `from` is inclusive. */
function justBefore(from: string): string {
  const last = from.charCodeAt(from.length - 1);
  // A tilde is the highest character that a name may have.
  return from.slice(0, -1) + (last > 0x21 ? `${String.fromCharCode(last - 1)}~` : "");
}

/** Only AWS reliably resolves a host name for each bucket; other stores need the bucket in the path. */
function isOfAws(endpoint: string): boolean {
  return /\.amazonaws\.com(\.cn)?$/.test(new URL(endpoint).hostname);
}
