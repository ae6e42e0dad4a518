/** A table of DynamoDB as a configuration names it. */
export interface TablePlace {
  /** What calls name it: its name, or its ARN, which other accounts need. */
  readonly table: string;
  readonly region?: string;
  /** Known of an ARN. */
  readonly account?: string;
}

const region = "[a-z]{2,}(?:-[a-z]+)+-\\d+";
const name = "[\\w.-]{3,255}";
const named = new RegExp(`^(?:(${region})/)?(${name})$`);
const arn = new RegExp(`^arn:aws[\\w-]*:dynamodb:(${region}):(\\d{12}):table/${name}$`);

/** `TABLE`, `REGION/TABLE` or an ARN; undefined for anything else. */
export function parseTablePlace(text: string): TablePlace | undefined {
  const ofArn = arn.exec(text);
  if (ofArn) return { table: text, region: ofArn[1], account: ofArn[2] };
  const match = named.exec(text);
  return match ? { table: match[2], ...(match[1] !== undefined && { region: match[1] }) } : undefined;
}

/** The table's own name, also of an ARN. */
export function tableName(table: string): string {
  return table.split("/").at(-1) ?? table;
}
