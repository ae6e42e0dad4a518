// Sums up the JSON reports of vitest in its arguments: prints each failure with the first lines of its message, and then
// `N passed, N failed` alone on the last line. Failures are repeated here because a log is read from its end.
import { readFileSync } from "node:fs";

const linesOfMessage = 12;
let [passed, failed] = [0, 0];
for (const report of process.argv.slice(2)) {
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, "utf8"));
  passed += numPassedTests;
  failed += numFailedTests;
  for (const { name, status, message, assertionResults } of testResults) {
    const failures = assertionResults.filter((test) => test.status === "failed");
    for (const { fullName, failureMessages } of failures) tell(`${name}: ${fullName}`, failureMessages);
    // A file that does not load, or whose hooks fail, fails without a failed test: count it as one.
    if (status === "failed" && failures.length === 0) {
      failed++;
      tell(name, [message]);
    }
  }
}
console.log(`${passed} passed, ${failed} failed`);

function tell(place, messages) {
  const lines = messages.join("\n").split("\n").slice(0, linesOfMessage);
  console.log(`FAILED ${place}\n${lines.map((line) => `  ${line}`).join("\n")}\n`);
}
