import type { schemaMistakes } from "./json-schema-check.ts";

type Schema = Parameters<typeof schemaMistakes>[0];

const text: Schema = { type: "string" };
const integer: Schema = { type: "integer" };
const duration: Schema = { type: "number", minimum: 0 };

const namedValue: Schema = {
  type: "object",
  required: ["name", "value"],
  properties: { name: text, value: text, comment: text },
};

const postData: Schema = {
  type: "object",
  required: ["mimeType"],
  properties: { mimeType: text, text, params: { type: "array" }, comment: text },
};

const request: Schema = {
  type: "object",
  required: ["method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"],
  properties: {
    method: text,
    // An absolute URI (RFC 3986).
    url: { type: "string", pattern: "^https?://[A-Za-z0-9.:\\[\\]_-]+/(?:[!$&-;=?@A-Z\\[\\]_a-z~]|%[0-9A-Fa-f]{2})*$" },
    httpVersion: text,
    cookies: { type: "array", items: namedValue },
    headers: { type: "array", items: namedValue },
    queryString: { type: "array", items: namedValue },
    postData,
    headersSize: integer,
    bodySize: integer,
    comment: text,
  },
  additionalProperties: false,
};

const response: Schema = {
  type: "object",
  required: [
    "status",
    "statusText",
    "httpVersion",
    "cookies",
    "headers",
    "content",
    "redirectURL",
    "headersSize",
    "bodySize",
  ],
  properties: {
    status: integer,
    statusText: text,
    httpVersion: text,
    cookies: { type: "array", items: namedValue },
    headers: { type: "array", items: namedValue },
    content: { type: "object", required: ["size", "mimeType"], properties: { size: integer, mimeType: text } },
    redirectURL: text,
    headersSize: integer,
    bodySize: integer,
  },
  additionalProperties: false,
};

const entry: Schema = {
  type: "object",
  required: ["startedDateTime", "time", "request", "response", "cache", "timings"],
  properties: {
    startedDateTime: {
      type: "string",
      pattern: "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?(Z|[+-]\\d\\d:\\d\\d)$",
    },
    time: duration,
    request,
    response,
    cache: { type: "object" },
    timings: {
      type: "object",
      required: ["send", "wait", "receive"],
      properties: { send: duration, wait: duration, receive: duration },
    },
  },
  // HAR allows custom fields if their names start with an underscore.
  additionalProperties: { type: "object" },
};

/** The requirements of HAR 1.2 for the parts that our files use. */
export const harSchema: Schema = {
  type: "object",
  required: ["log"],
  properties: {
    log: {
      type: "object",
      required: ["version", "creator", "entries"],
      properties: {
        version: { type: "string", const: "1.2" },
        creator: { type: "object", required: ["name", "version"], properties: { name: text, version: text } },
        entries: { type: "array", items: entry },
        comment: text,
      },
      additionalProperties: false,
    },
  },
  additionalProperties: false,
};
