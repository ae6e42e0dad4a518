/** Reason why a call to AWS failed: an exception of the SDK, or an entry of `Failed[]`. */
export interface AwsRefusal {
  readonly code: string;
  readonly text: string;
  /** HTTP status; undefined if there was no response. */
  readonly status?: number | undefined;
}

/** Reads the reason from an error of the SDK. */
export function toRefusal(error: unknown): AwsRefusal {
  const { name, code, message, $metadata, $response } = error as Partial<NodeJS.ErrnoException> & {
    readonly $metadata?: { readonly httpStatusCode?: number };
    readonly $response?: { readonly statusCode?: number };
  };
  const status = $metadata?.httpStatusCode ?? $response?.statusCode;
  // Without a response the name is just `Error`: the system's code, such as ECONNREFUSED, says more.
  return { code: (status === undefined && code) || name || "Error", text: message || "no reason given", status };
}

/** Formats the advice, with AWS's own code and message in parentheses. */
export function explainRefusal(advice: string, { code, text, status }: AwsRefusal): string {
  const answer = status === undefined || status === 200 ? code : `${code}, HTTP ${status}`;
  return `${advice} (${answer}: ${text})`;
}

export function isThrottled({ code, status }: AwsRefusal): boolean {
  return /Throttl|OverLimit|TooManyRequests|SlowDown|LimitExceeded|ThroughputExceeded/i.test(code) || status === 429;
}

/** Also true if a proxy answered 401 or 403. */
export function isForbidden({ code, status }: AwsRefusal): boolean {
  return /AccessDenied|NotAuthorized|InvalidSecurity/.test(code) || status === 401 || status === 403;
}

/** Advice about the credentials; undefined if they are not the reason. */
export function credentialsAdvice({ code }: AwsRefusal): string | undefined {
  return credentialsRules.find(([codes]) => codes.test(code))?.[1];
}

const credentialsRules: readonly (readonly [RegExp, string])[] = [
  [
    /^Credentials|^TokenProvider/,
    "there are no usable AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give this machine a role",
  ],
  [/Expired|TokenRefreshRequired/, "the AWS credentials have expired: renew them"],
  [
    /Signature|TooSkewed/,
    "AWS does not accept the signature: check AWS_SECRET_ACCESS_KEY and the clock of this machine",
  ],
  [
    /InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|MissingAuthenticationToken|OptInRequired/,
    "AWS does not know these credentials: check AWS_ACCESS_KEY_ID, or the profile or role of this machine",
  ],
];
