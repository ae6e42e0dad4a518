import { z } from "@hono/zod-openapi";

// Schemas that the routes of the control API share.

/** An object that allows no unknown keys: a misspelt key would silently be ignored. */
export function strict<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  const known = Object.keys(shape).join(", ");
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? `unknown key ${issue.keys.join(", ")}; allowed here: ${known}`
        : `must be an object with these keys: ${known}`,
  });
}

/** A whole number in a query; both bounds are included. */
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

/** A JSON answer of a route, for the OpenAPI document. */
export function json<Schema extends z.ZodType>(schema: Schema, description: string) {
  return { description, content: { "application/json": { schema } } };
}

export const amountSchema = z
  .object({ messages: z.int().optional(), requests: z.int().optional() })
  .describe("Packs, and the requests in them, which are absent in SQS: it does not count requests")
  .openapi("Amount");
