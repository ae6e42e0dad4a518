import { STATUS_CODES } from "node:http";
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { ProblemAnswer } from "../../relay/control/answers.ts";

const problemType = "application/problem+json";

const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    errors: z
      .array(z.object({ place: z.string(), detail: z.string() }))
      .optional()
      .describe("Each mistake of what was sent"),
  })
  .meta({
    examples: [
      {
        type: "about:blank",
        title: "Bad Request",
        status: 400,
        detail: 'body.rate: "fast" is not a rate, such as 200/s or 30/min or unlimited',
        errors: [{ place: "body.rate", detail: '"fast" is not a rate, such as 200/s or 30/min or unlimited' }],
      },
    ],
  })
  .openapi("Problem");

/** Answers with a problem (RFC 9457). Its type is `about:blank`: the status says all there is to its kind. */
export function answerProblem(
  context: Context,
  status: ContentfulStatusCode,
  detail: string,
  errors?: ProblemAnswer["errors"],
  headers: Readonly<Record<string, string>> = {},
): Response {
  const title = STATUS_CODES[status] ?? "Error";
  const problem: ProblemAnswer = { type: "about:blank", title, status, detail, ...(errors && { errors }) };
  return context.body(JSON.stringify(problem), status, { "content-type": problemType, ...headers });
}

/** What a route may answer instead, for the OpenAPI document. */
export function problemResponses<Status extends number>(...statuses: Status[]) {
  const response = (status: number) => ({
    description: STATUS_CODES[status] ?? "",
    content: { [problemType]: { schema: problemSchema } },
  });
  return Object.fromEntries(statuses.map((status) => [status, response(status)])) as Record<
    Status,
    ReturnType<typeof response>
  >;
}
