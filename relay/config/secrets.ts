/** A text of the configuration, or the environment variable that has it. */
export type WrittenSecret = string | { readonly env: string };

/**
 * Puts the values of environment variables where the configuration names them. What is missing is kept as a mistake and no
 * error, since only the process that replays needs it.
 */
export class Secrets {
  readonly missing: { readonly path: readonly string[]; readonly mistake: string }[] = [];
  /** All that the configuration names, there or not. */
  readonly variables: { readonly path: readonly string[]; readonly name: string }[] = [];
  readonly #env: Readonly<Record<string, string | undefined>>;

  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#env = env;
  }

  /** @param path where they stand in the file, for the mistake */
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

  /** As `toTexts`, for values of headers. */
  toHeaders(path: readonly string[], written: Readonly<Record<string, WrittenSecret>>): Record<string, string> {
    return this.toTexts(path, written, (value) => headerValue.test(value));
  }

  #read(path: readonly string[], name: string, isUsable: (value: string) => boolean): string {
    this.variables.push({ path, name });
    const value = this.#env[name];
    if (value !== undefined && isUsable(value)) return value;
    const mistake = value === undefined ? "is not set" : "holds a line break or another character that no header can";
    // The value itself is nobody's business.
    this.missing.push({ path, mistake: `the environment variable ${name} ${mistake}` });
    return "";
  }
}

const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/;
