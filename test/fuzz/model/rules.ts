/** What the model is told of a configuration: the parts of `agent.redact`, `agent.sample` and `agent.when` as they are written. */
export interface ModelRules {
  readonly headers: readonly string[];
  readonly cookies: readonly string[];
  readonly query: readonly string[];
  readonly form: readonly string[];
  readonly json: readonly (readonly string[])[];
  readonly dropBodies: readonly { readonly path?: string; readonly type?: string }[];
  readonly key?: { readonly value: string };
}

export interface ModelSetting {
  readonly rules: ModelRules;
  readonly fraction: number;
  readonly stickyBy?: "src" | { readonly cookie: string };
  readonly methods?: readonly string[];
  /** A regular expression. */
  readonly path?: string;
  /** Name in lower case, and a regular expression. */
  readonly header?: readonly [name: string, value: string];
  readonly loopKey?: string;
}
