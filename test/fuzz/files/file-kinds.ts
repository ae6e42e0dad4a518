import { haproxyLogs, nginxLogs } from "./access-logs.ts";
import { redactedBodies } from "./bodies.ts";
import { configurations } from "./configurations.ts";
import type { FileKind } from "./file-kind.ts";
import { goreplayFiles } from "./goreplay-files.ts";
import { harFiles } from "./har-files.ts";
import { answerTexts, requestTexts, tokenAnswers } from "./http-texts.ts";
import { journals } from "./journals.ts";
import { messageBodies, sqsEvents } from "./messages.ts";
import { captureObjects, headerBlocks, packContents, sealedPacks } from "./packs.ts";
import { patterns } from "./patterns.ts";
import { amounts, objectNames, stateRows } from "./small-texts.ts";
import { zippedFiles } from "./zipped-files.ts";

/** Every kind of file and text that comes from outside, but for the protocol of HAProxy. */
export const fileKinds: readonly FileKind[] = [
  harFiles,
  goreplayFiles,
  nginxLogs,
  haproxyLogs,
  zippedFiles,
  journals,
  packContents,
  sealedPacks,
  captureObjects,
  headerBlocks,
  messageBodies,
  sqsEvents,
  requestTexts,
  answerTexts,
  tokenAnswers,
  configurations,
  redactedBodies,
  patterns,
  objectNames,
  amounts,
  stateRows,
];

/** The kinds with this in their name. Throws `TypeError` if there is none. */
export function kindsOf(name: string): readonly FileKind[] {
  const kinds = fileKinds.filter((kind) => kind.name.toLowerCase().includes(name.toLowerCase()));
  if (kinds.length > 0) return kinds;
  throw new TypeError(`--kind must be a part of one of: ${fileKinds.map((kind) => kind.name).join(", ")}`);
}
