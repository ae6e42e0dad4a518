import type { PackSummary } from "../../relay/pack/summary.ts";
import type { IngressPlace } from "../../relay/queue/ingress.ts";
import type { QueueErrorCode } from "../../relay/queue/port.ts";
import type { DropReason } from "../ledger.ts";

// What the main thread and the shipper's thread tell each other.

/** What the thread needs to find its queue and its journal. */
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
  | { readonly kind: "pack"; readonly buffer: ArrayBuffer; readonly bytes: number; readonly summary: PackSummary }
  | { readonly kind: "stop"; readonly withinMs: number };

export type FromWorker =
  | { readonly kind: "started" }
  | SealedMessage
  | ShippedMessage
  | DroppedMessage
  | QueueFailedMessage
  | { readonly kind: "queueUp" }
  | { readonly kind: "journalDown"; readonly message: string }
  | { readonly kind: "journalUp" }
  /** Requests that were in the journal had to give way there, and are in memory alone. */
  | { readonly kind: "exposed"; readonly requests: number }
  | { readonly kind: "journal"; readonly bytes: number; readonly packs: number }
  | { readonly kind: "recovered"; readonly packs: number; readonly requests: number; readonly damaged: number }
  | { readonly kind: "stopped" };

/** The queue has not taken packs that are tried again; one message a try. */
interface QueueFailedMessage {
  readonly kind: "queueFailed";
  readonly code: QueueErrorCode;
  readonly message: string;
}

/** A pack has been compressed; its buffer comes back. */
interface SealedMessage {
  readonly kind: "sealed";
  readonly contentBytes: number;
  readonly sealedBytes: number;
  /** What of it stays in memory: nothing, where it is in the journal and there is enough to send. */
  readonly heldBytes: number;
  readonly requests: number;
  /** Whether it outlives the process from now on. */
  readonly journaled: boolean;
  readonly buffer: ArrayBuffer;
}

export interface ShippedMessage {
  readonly kind: "shipped";
  readonly packs: number;
  readonly sealedBytes: number;
  readonly heldBytes: number;
  /** Of this run. */
  readonly requests: number;
  /** Of these, the ones that were not in the journal. */
  readonly volatileRequests: number;
  /** Of earlier runs, found in the journal. */
  readonly recoveredRequests: number;
}

export interface DroppedMessage {
  readonly kind: "dropped";
  readonly reason: DropReason;
  readonly requests: number;
  readonly volatileRequests: number;
  readonly heldBytes: number;
  /** They belong to an earlier run, and not to the ledger of this one. */
  readonly recovered: boolean;
  /** What queue or journal say. */
  readonly detail?: string;
}
