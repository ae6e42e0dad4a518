import { STATUS_CODES } from "node:http";
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { ProblemAnswer } from "../../relay/control/answers.ts";

const problemType = "application/problem+json";

const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe("What is wrong, and what to do"),
    errors: z
      .array(z.object({ place: z.string(), detail: z.string() }))
      .optional()
      .describe("Each mistake in the request, with its place, such as body.rate"),
  })
  .meta({
    examples: [
      {
        type: "about:blank",
        title: "Bad Request",
        status: 400,
        detail: 'body.rate: "100" has no unit: write 100/s, 100/min or 100/h',
        errors: [{ place: "body.rate", detail: '"100" has no unit: write 100/s, 100/min or 100/h' }],
      },
    ],
  })
  .openapi("Problem");

/** A mistake in a request that the schemas cannot find; answered with 400. */
export class Mistake extends HTTPException {
  readonly place: string;
  readonly detail: string;

  constructor(place: string, detail: string) {
    super(400, { message: `${place}: ${detail}` });
    this.place = place;
    this.detail = detail;
  }
}

/** Answers with a problem (RFC 9457). Its type is `about:blank`: the kind of problem is that of the status code. */
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

/** The problems that a route may answer with, for the OpenAPI document. */
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
