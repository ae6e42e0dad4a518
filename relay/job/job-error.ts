export type JobErrorCode =
  | "UNKNOWN_CAPTURE"
  | "UNKNOWN_TARGET"
  | "UNKNOWN_JOB"
  /** Another version of spoa-relay wrote the job. */
  | "FOREIGN_JOB"
  | "BAD_RANGE"
  | "NOTHING_THERE"
  | "BAD_TIME"
  | "BAD_ARGUMENT"
  | "WRONG_STATUS";

/** A request about jobs that cannot be fulfilled. The message says what to do. */
export class JobError extends Error {
  readonly code: JobErrorCode;

  constructor(code: JobErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "JobError";
    this.code = code;
  }
}
