import { z } from "@hono/zod-openapi";

/** An object in which an unknown key is a mistake: misspelt, it must not silently mean nothing. */
export function strict<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  const known = Object.keys(shape).join(", ");
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? `unknown key ${issue.keys.join(", ")}; allowed here: ${known}`
        : `must be an object with these keys: ${known}`,
  });
}
