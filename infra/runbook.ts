/** The titles of the sections of RUNBOOK.md: one for each kind of alarm. */
export const runbookSections = {
  deadLetters: "Dead letters",
  undecodablePacks: "Packs that reached no target",
  packsWait: "Packs wait too long",
  functionErrors: "A function fails",
  functionThrottled: "A function is throttled",
  stateDown: "The state table refuses a function",
  noProgress: "Requests go back and none is settled",
  tableThrottled: "The state table is throttled",
  hotKey: "One key of the state table is throttled",
  agentSilent: "No agent sends anything",
  breakerOpen: "A breaker is open",
  captureWaits: "Requests wait for a capture",
  scheduleStopped: "The schedule does not run",
  dailyCost: "A day costs too much",
} as const;

export type RunbookSection = keyof typeof runbookSections;

/** The link to a section in the description of an alarm. */
export function runbookLink(section: RunbookSection): string {
  return `infra/RUNBOOK.md#${runbookSections[section].toLowerCase().replaceAll(" ", "-")}`;
}
