/** A count and its noun: `1 request`, `1,200 requests`. */
export function plural(count: number, noun: string): string {
  const whole = Math.round(count);
  return `${whole.toLocaleString("en-US")} ${noun}${whole === 1 ? "" : "s"}`;
}
