/** A line of the results. */
export interface Row {
  readonly what: string;
  readonly value: string;
}

export interface Table {
  readonly title: string;
  readonly rows: readonly Row[];
}

export function printTable(title: string, rows: readonly Row[]): void {
  const width = Math.max(...rows.map(({ what }) => what.length));
  console.log(`\n${title}`);
  for (const { what, value } of rows) console.log(`  ${what.padEnd(width)}  ${value}`);
}
