import { z } from "@hono/zod-openapi";

/** A whole number in a query, both bounds included. */
export function wholeNumber(bounds: {
  readonly least: number;
  readonly most: number;
  readonly otherwise: number;
  readonly description: string;
}) {
  const { least, most, otherwise, description } = bounds;
  return z
    .string()
    .regex(/^\d{1,9}$/, { error: "must be a whole number" })
    .transform(Number)
    .refine((value) => value >= least && value <= most, { error: `must be from ${least} to ${most}` })
    .default(otherwise)
    .openapi({
      type: "integer",
      minimum: least,
      maximum: most,
      param: { description },
      examples: [otherwise],
    });
}
