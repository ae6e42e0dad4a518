import type { PackSummary } from "../../relay/pack/summary.ts";
import type { DamagedFile } from "../../relay/queue/damaged-file.ts";
import type { IngressPlace } from "../../relay/queue/ingress.ts";
import type { QueueErrorCode } from "../../relay/queue/port.ts";
import type { DropReason } from "../ledger.ts";
import type { CaptureSpan } from "./held-time.ts";

// Messages between the main thread and the shipper thread.

/** Options with which the thread opens its queue and its journal. */
export interface WorkerOptions {
  /** Name and run of the agent, as in its packs. */
  readonly agent: string;
  readonly ingress: IngressPlace;
  readonly journal?: JournalPlace;
}

export interface JournalPlace {
  readonly directory: string;
  readonly maxBytes: number;
  readonly whenFull: "drop-oldest" | "drop-newest";
}

export type ToWorker =
  | {
      readonly kind: "pack";
      readonly buffer: ArrayBuffer;
      readonly bytes: number;
      readonly summary: PackSummary;
      readonly span?: CaptureSpan;
    }
  /** The thread answers at once that it is present. */
  | { readonly kind: "ask" }
  | { readonly kind: "stop"; readonly withinMs: number };

export type FromWorker =
  | { readonly kind: "started" }
  | { readonly kind: "present" }
  | SealedMessage
  | ShippedMessage
  | DroppedMessage
  | QueueFailedMessage
  | { readonly kind: "queueUp" }
  | { readonly kind: "queueDamaged"; readonly damaged: DamagedFile }
  | { readonly kind: "journalDown"; readonly message: string }
  | { readonly kind: "journalUp" }
  /** The journal removed requests to make room: they are now in memory only. */
  | { readonly kind: "exposed"; readonly requests: number }
  | { readonly kind: "journal"; readonly bytes: number; readonly packs: number }
  | { readonly kind: "recovered"; readonly packs: number; readonly requests: number; readonly damaged: number }
  | { readonly kind: "stopped" };

/** An attempt to send packs failed and will be repeated; one message per attempt. */
interface QueueFailedMessage {
  readonly kind: "queueFailed";
  readonly code: QueueErrorCode;
  readonly message: string;
}

/** A pack has been compressed; returns its buffer. */
interface SealedMessage {
  readonly kind: "sealed";
  readonly contentBytes: number;
  readonly sealedBytes: number;
  /** Its bytes in memory: 0 if it is only in the journal, or if a full journal gave it up. */
  readonly heldBytes: number;
  readonly requests: number;
  /** True if it is not in memory only: it is in the journal, or a full journal gave it up. */
  readonly journaled: boolean;
  readonly buffer: ArrayBuffer;
}

export interface ShippedMessage {
  readonly kind: "shipped";
  readonly packs: number;
  readonly sealedBytes: number;
  readonly heldBytes: number;
  /** Requests of this run. */
  readonly requests: number;
  /** Those of `requests` that were not in the journal. */
  readonly volatileRequests: number;
  /** Requests of earlier runs, found in the journal. */
  readonly recoveredRequests: number;
}

export interface DroppedMessage {
  readonly kind: "dropped";
  readonly reason: DropReason;
  readonly requests: number;
  readonly volatileRequests: number;
  readonly heldBytes: number;
  /** True if an earlier run captured them: then they are not in the ledger of this one. */
  readonly recovered: boolean;
  /** The message of the queue's error. */
  readonly detail?: string;
}
