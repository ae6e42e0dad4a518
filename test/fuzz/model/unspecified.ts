/**
 * Thrown by the model for input of which the documents do not say what becomes of it, such as a quote inside of a URL. The part of
 * the request that has it is not compared.
 */
export class Unspecified extends Error {
  constructor(what: string) {
    super(what);
    this.name = "Unspecified";
  }
}

/** The result, or undefined if the documents do not say what it is. */
export function specified<T>(read: () => T): T | undefined {
  // The stack of an error that is caught here would take most of the time.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return read();
  } catch (error) {
    if (error instanceof Unspecified) return undefined;
    throw error;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}
