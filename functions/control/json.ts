import type { z } from "@hono/zod-openapi";

/** A JSON answer of a route, for the OpenAPI document. */
export function json<Schema extends z.ZodType>(schema: Schema, description: string) {
  return { description, content: { "application/json": { schema } } };
}
