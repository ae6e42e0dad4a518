/** Actions that are allowed on resources. */
export interface Permission {
  readonly actions: readonly string[];
  /** ARNs. */
  readonly resources: readonly string[];
  readonly conditions?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
  /** The reason for wildcards in the ARNs: the checks at synthesis refuse wildcards without one. */
  readonly wildcard?: string;
}
