/** A text of the configuration, or the environment variable that holds it. */
export type WrittenSecret = string | { readonly env: string };

/**
 * Replaces `{ env: NAME }` by the value of the environment variable. Collects missing variables instead of throwing, since
 * only processes that replay need them.
 */
export class Secrets {
  readonly missing: { readonly path: readonly string[]; readonly mistake: string }[] = [];
  /** All variables that the configuration names, set or not. */
  readonly variables: { readonly path: readonly string[]; readonly name: string }[] = [];
  readonly #env: Readonly<Record<string, string | undefined>>;

  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#env = env;
  }

  /**
   * @param path key of the texts in the file, for messages
   * @param explain what is wrong with the value of a variable, as the end of a sentence; undefined if it is usable
   */
  toTexts(
    path: readonly string[],
    written: Readonly<Record<string, WrittenSecret>>,
    explain: (value: string) => string | undefined = () => undefined,
  ): Record<string, string> {
    const entries = Object.entries(written);
    return Object.fromEntries(
      entries.map(([name, value]) => [
        name,
        typeof value === "string" ? value : this.#read([...path, name], value.env, explain),
      ]),
    );
  }

  /** Like `toTexts`; a value that cannot be sent in a header counts as missing. */
  toHeaders(path: readonly string[], written: Readonly<Record<string, WrittenSecret>>): Record<string, string> {
    return this.toTexts(path, written, explainHeader);
  }

  #read(path: readonly string[], name: string, explain: (value: string) => string | undefined): string {
    this.variables.push({ path, name });
    const value = this.#env[name];
    const mistake = value === undefined ? "is not set" : explain(value);
    if (value !== undefined && mistake === undefined) return value;
    // The value is left out: it may be a secret.
    this.missing.push({ path, mistake: `the environment variable ${name} ${mistake}` });
    return "";
  }
}

function explainHeader(value: string): string | undefined {
  return headerValue.test(value) ? undefined : "holds a character that a header cannot, such as a line break";
}

const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/;
