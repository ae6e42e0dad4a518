/** What the deployment to AWS is told beside what everybody reads; see `infra/`. */
export interface Deployment {
  readonly tags: Readonly<Record<string, string>>;
  /** `own`, or the ARN of a key in KMS. The keys of AWS where it is undefined. */
  readonly key?: string;
  /** ARNs of principals of other accounts that may send to the ingress queue. */
  readonly agents: readonly string[];
  readonly alarms: { readonly email?: string; readonly dailyCostUsd?: number; readonly silentAfterMs: number };
  readonly logDays: number;
  readonly keepData: boolean;
  /** By the name of the environment variable. */
  readonly secrets: Readonly<Record<string, SecretPlace>>;
}

/** A secret in Secrets Manager: all of its text, or a field of its JSON. */
export interface SecretPlace {
  /** Name or ARN. */
  readonly id: string;
  readonly field?: string | undefined;
}

/** Where a function stands in a network. */
export interface VpcPlace {
  readonly subnets: readonly string[];
  readonly securityGroups: readonly string[];
}
