/** The sections of RUNBOOK.md, one for each kind of alarm, by their titles. */
export const runbookSections = {
  deadLetters: "Dead letters",
  undecodablePacks: "Packs that came to no target",
  packsWait: "Packs wait too long",
  functionErrors: "A function fails",
  functionThrottled: "A function is throttled",
  agentSilent: "No agent sends anything",
  breakerOpen: "A breaker is open",
  captureWaits: "A capture waits",
  scheduleStopped: "The schedule does not run",
  dailyCost: "A day costs too much",
} as const;

export type RunbookSection = keyof typeof runbookSections;

/** Where a section stands, as alarms say it. */
export function runbookLink(section: RunbookSection): string {
  return `infra/RUNBOOK.md#${runbookSections[section].toLowerCase().replaceAll(" ", "-")}`;
}
