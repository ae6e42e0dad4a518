/** Credentials that cannot be had. The message names where they come from, and none of their parts. */
export class CredentialsError extends Error {
  readonly code = "NO_CREDENTIALS";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "CredentialsError";
  }
}
