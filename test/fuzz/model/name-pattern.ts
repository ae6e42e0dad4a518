/** Whether a name is what a pattern names: `*` stands for any characters, or none, and case does not matter. */
export function isNamedBy(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => expressionOf(pattern).test(name));
}

const expressions = new Map<string, RegExp>();

function expressionOf(pattern: string): RegExp {
  const known = expressions.get(pattern);
  if (known) return known;
  const literal = pattern.split("*").map((part) => part.replace(/[^\w]/g, "\\$&"));
  const expression = new RegExp(`^${literal.join("[\\s\\S]*")}$`, "i");
  expressions.set(pattern, expression);
  return expression;
}
