/** `1.3 million`, `52,000`, `4.2`: as much as an estimate can know. */
export function count(value: number): string {
  const [shown, unit] = value >= 1e6 ? [value / 1e6, " million"] : [value, ""];
  return `${shown.toLocaleString("en-US", { maximumSignificantDigits: shown >= 1_000 ? 4 : 3 })}${unit}`;
}

export function usd(value: number): string {
  return `$${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}
