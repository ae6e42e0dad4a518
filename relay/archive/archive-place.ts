import { DirectoryArchive } from "./directory.ts";
import type { OpenArchive } from "./port.ts";
import type { S3Place } from "./s3.ts";

/** Where an archive is. */
export type ArchivePlace =
  | { readonly kind: "directory"; readonly directory: string }
  | ({ readonly kind: "s3" } & S3Place);

/** Opens an archive; a directory is made where it is missing, a bucket is not asked for anything yet. Throws `ArchiveError`. */
export async function openArchive(place: ArchivePlace): Promise<OpenArchive> {
  if (place.kind === "directory") return DirectoryArchive.open(place.directory);
  // Only here, so that one machine pays nothing for the SDK.
  const { S3Archive } = await import("./s3.ts");
  return S3Archive.open(place);
}
