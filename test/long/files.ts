/** Tests through many processes that take ten seconds to a minute each: `npm run test:long`, and not `npm test`. */
export const long: readonly string[] = [
  "test/e2e/captures.test.ts",
  "test/e2e/command-line.test.ts",
  "test/e2e/control.test.ts",
  "test/e2e/crash.test.ts",
  "test/e2e/credentials.test.ts",
  "test/e2e/exchange.test.ts",
  "test/e2e/fidelity.test.ts",
  "test/e2e/jobs.test.ts",
  "test/e2e/lambda.test.ts",
  "test/e2e/package.test.ts",
  "test/e2e/sqs.test.ts",
  "test/e2e/workers.test.ts",
  "test/functions/replay-jobs.test.ts",
  "test/infra/deployed.test.ts",
  "test/infra/from-zero.test.ts",
];
