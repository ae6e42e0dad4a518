import { DirectoryArchive } from "./directory.ts";
import type { OpenArchive } from "./port.ts";
import type { S3Place } from "./s3.ts";

/** Location of an archive. */
export type ArchivePlace =
  | { readonly kind: "directory"; readonly directory: string }
  | ({ readonly kind: "s3" } & S3Place);

/** Opens an archive. Creates a missing directory; sends nothing to a bucket yet. Throws `ArchiveError`. */
export async function openArchive(place: ArchivePlace): Promise<OpenArchive> {
  if (place.kind === "directory") return DirectoryArchive.open(place.directory);
  // Imported lazily: processes that do not use S3 should not load its SDK.
  const { S3Archive } = await import("./s3.ts");
  return S3Archive.open(place);
}
