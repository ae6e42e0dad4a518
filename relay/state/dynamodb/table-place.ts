/** A DynamoDB table as named in the configuration. */
export interface TablePlace {
  /** The name to use in calls: the table's name, or its ARN, which calls from other accounts need. */
  readonly table: string;
  readonly region?: string;
  /** Set only if the table is named by its ARN. */
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

/** The name of a table that is given by its name or its ARN. */
export function tableName(table: string): string {
  return table.split("/").at(-1) ?? table;
}
