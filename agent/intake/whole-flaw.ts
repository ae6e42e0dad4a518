/** Why HAProxy did not say whether a body is whole: no argument `whole`, or one of another type. */
export type WholeFlaw = "missing" | "not a boolean";

/** What the flaw means, and the line that cures it. */
export function describeWholeFlaw(flaw: WholeFlaw, onResponse: boolean): string {
  const what =
    flaw === "missing"
      ? "HAProxy does not say whether bodies are whole, so the agent guesses, and some cut bodies count as complete"
      : "the argument whole is not a boolean, so the agent guesses whether bodies are whole, and some cut ones count as complete";
  return onResponse
    ? `${what}: in spoe-message write args whole=var(txn.mirror.whole), and in the front end http-request set-var(txn.mirror.whole) internal.htx.has_eom if mirrored`
    : `${what}: in spoe-message write args whole=internal.htx.has_eom`;
}
