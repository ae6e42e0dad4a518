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

  /** @param path key of the texts in the file, for messages */
  toTexts(
    path: readonly string[],
    written: Readonly<Record<string, WrittenSecret>>,
    isUsable: (value: string) => boolean = () => true,
  ): Record<string, string> {
    const entries = Object.entries(written);
    return Object.fromEntries(
      entries.map(([name, value]) => [
        name,
        typeof value === "string" ? value : this.#read([...path, name], value.env, isUsable),
      ]),
    );
  }

  /** Like `toTexts`; a value that cannot be sent in a header counts as missing. */
  toHeaders(path: readonly string[], written: Readonly<Record<string, WrittenSecret>>): Record<string, string> {
    return this.toTexts(path, written, (value) => headerValue.test(value));
  }

  #read(path: readonly string[], name: string, isUsable: (value: string) => boolean): string {
    this.variables.push({ path, name });
    const value = this.#env[name];
    if (value !== undefined && isUsable(value)) return value;
    const mistake = value === undefined ? "is not set" : "holds a character that a header cannot, such as a line break";
    // The value is left out: it may be a secret.
    this.missing.push({ path, mistake: `the environment variable ${name} ${mistake}` });
    return "";
  }
}

const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/;
