import { z } from "zod";
import { isFraming } from "../redaction/header-mask.ts";
import { parseJsonPath } from "../redaction/json-keys.ts";
import { headerName, section, written } from "./forms.ts";

// Each rule is compared with each name of a request while HAProxy's next frames wait.
const mostRules = 64;

const pattern = z.string({ error: "must be a name, with quotes if it begins with *" }).min(1).max(200);

const maskedHeader = headerName.refine((name) => !isFraming(name), {
  error: "is never masked: it says where a request goes or how its body is read",
});

const names = (what: string, name: z.ZodType<string, string> = pattern) =>
  z.array(name).max(mostRules).default([]).describe(what);

const jsonPath = written(parseJsonPath, "a path of keys", ["$.user.password", "**.token"]);

const dropRule = section({
  path: pattern.describe("Path without its query").optional(),
  type: pattern.describe("Content-Type without its parameters, such as image/*").optional(),
}).refine(({ path, type }) => path !== undefined || type !== undefined, { error: "needs path or type, or both" });

export const redactSchema = section({
  headers: names(
    "Headers whose values are masked, apart from Host, Content-Type, Content-Length and Transfer-Encoding",
    maskedHeader,
  ),
  cookies: names("Cookies whose values are masked, in Cookie and Set-Cookie"),
  query: names("Query parameters whose values are masked, in the path and in URLs in headers"),
  form: names("Form fields whose values are masked, in urlencoded and multipart bodies"),
  json: z
    .array(jsonPath)
    .max(mostRules)
    .default([])
    .describe("Values that are masked in JSON bodies: $.user.password, or **.token at any depth; lists are no step"),
  dropBodies: z
    .array(dropRule)
    .max(mostRules)
    .default([])
    .describe("Bodies that are left out: of requests with this path, this type, or both"),
  key: section({
    env: z
      .string()
      .regex(/^[A-Za-z_]\w*$/, { error: "is not the name of an environment variable" })
      .describe("Name of an environment variable of the agent, which holds 16 characters or more"),
  })
    .describe(
      "Equal values get equal masks, on every agent with the same key: for sticky samples, keys and comparisons. Without it, every mask is the same",
    )
    .optional(),
});

export type ParsedRedact = z.output<typeof redactSchema>;
