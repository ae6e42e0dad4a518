interface JsonSchema {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly JsonSchema[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly propertyNames?: JsonSchema;
  readonly items?: JsonSchema;
}

/** Checks a value against the keywords of JSON Schema that the configuration uses; returns one line for each mistake. */
export function schemaMistakes(schema: JsonSchema, value: unknown, path = "$"): string[] {
  const mistakes: string[] = [];
  if (schema.anyOf && !schema.anyOf.some((option) => schemaMistakes(option, value).length === 0)) {
    mistakes.push(`${path} fits none of the options`);
  }
  if (schema.type && !hasType(schema.type, value)) return [...mistakes, `${path} is no ${schema.type}`];
  if (schema.const !== undefined && value !== schema.const) mistakes.push(`${path} is not ${schema.const}`);
  if (schema.enum && !schema.enum.includes(value)) mistakes.push(`${path} is none of ${schema.enum.join()}`);
  if (schema.pattern && !new RegExp(schema.pattern).test(String(value))) mistakes.push(`${path} has another pattern`);
  if (Number(value) < (schema.minimum ?? -Infinity)) mistakes.push(`${path} is too small`);
  if (Number(value) > (schema.maximum ?? Infinity)) mistakes.push(`${path} is too large`);
  if (Array.isArray(value) && schema.items) {
    for (const [i, item] of value.entries()) mistakes.push(...schemaMistakes(schema.items, item, `${path}.${i}`));
  }
  if (hasType("object", value)) mistakes.push(...objectMistakes(schema, value as Record<string, unknown>, path));
  return mistakes;
}

function objectMistakes(schema: JsonSchema, value: Record<string, unknown>, path: string): string[] {
  const mistakes = (schema.required ?? []).filter((key) => !(key in value)).map((key) => `${path}.${key} is missing`);
  for (const [key, item] of Object.entries(value)) {
    if (schema.propertyNames) mistakes.push(...schemaMistakes(schema.propertyNames, key, `${path}.${key}`));
    const known = schema.properties?.[key] ?? schema.additionalProperties;
    if (known === false) mistakes.push(`${path}.${key} is not allowed`);
    else if (typeof known === "object") mistakes.push(...schemaMistakes(known, item, `${path}.${key}`));
  }
  return mistakes;
}

function hasType(type: string, value: unknown): boolean {
  if (type === "integer") return Number.isInteger(value);
  if (type === "array") return Array.isArray(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}
