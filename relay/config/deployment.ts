/** Settings that only the deployment to AWS reads; see `infra/`. */
export interface Deployment {
  readonly tags: Readonly<Record<string, string>>;
  /** `own`, or the ARN of a KMS key. If it is undefined, keys of AWS encrypt the data. */
  readonly key?: string;
  /** ARNs of principals of other accounts that may send to the ingress queue. */
  readonly agents: readonly string[];
  readonly alarms: { readonly email?: string; readonly dailyCostUsd?: number; readonly silentAfterMs: number };
  readonly logDays: number;
  readonly keepData: boolean;
  /** By the name of the environment variable that a target names. */
  readonly secrets: Readonly<Record<string, SecretPlace>>;
}

/** A secret in Secrets Manager: its whole text, or one field of its JSON. */
export interface SecretPlace {
  /** Name or ARN. */
  readonly id: string;
  readonly field?: string | undefined;
}

/** The network in which a function runs. */
export interface VpcPlace {
  readonly subnets: readonly string[];
  readonly securityGroups: readonly string[];
}
