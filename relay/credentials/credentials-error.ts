/** Credentials cannot be obtained. The message names their source and contains no secret. */
export class CredentialsError extends Error {
  readonly code = "NO_CREDENTIALS";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "CredentialsError";
  }
}
