/** The event of a request to a function URL with IAM: payload format 2.0. */
export function urlEvent(method: string, pathAndQuery: string, body?: string): unknown {
  const [path, query = ""] = pathAndQuery.split("?");
  const host = "abc.lambda-url.us-east-1.on.aws";
  return {
    version: "2.0",
    rawPath: path,
    rawQueryString: query,
    headers: { host, "content-type": "application/json" },
    requestContext: {
      domainName: host,
      authorizer: { iam: { accountId: "123456789012" } },
      http: { method, path, protocol: "HTTP/1.1", sourceIp: "192.0.2.1" },
    },
    ...(body !== undefined && { body }),
    isBase64Encoded: false,
  };
}
