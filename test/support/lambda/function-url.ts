import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { Agent, type Dispatcher } from "undici";
import { onTestFinished } from "vitest";

export interface AwsKeys {
  readonly id: string;
  readonly secret: string;
  readonly sessionToken?: string;
}

/** Answers a request as the function would, with a Response of a web framework. */
export type FunctionApp = (request: Request) => Response | Promise<Response>;

/** A function URL with IAM: accepts requests that are signed with these keys, and verifies the signature with code of its own. */
export class FunctionUrl {
  readonly url: URL;
  /** Sends requests to this server for any host name. */
  readonly dispatcher: Dispatcher;

  static async start(keys: AwsKeys, app: FunctionApp, region = "eu-central-1"): Promise<FunctionUrl> {
    const server = createServer(async (incoming, outgoing) => {
      const body = Buffer.concat(await incoming.toArray());
      const refusal = findMistake(incoming, body, keys, region);
      if (refusal) {
        outgoing.writeHead(403, { "content-type": "application/json", "x-amzn-errortype": refusal });
        outgoing.end(JSON.stringify({ Message: "Forbidden" }));
        return;
      }
      const headers = Object.entries(incoming.headers as Record<string, string>);
      const response = await app(
        new Request(`https://${incoming.headers.host}${incoming.url}`, {
          method: incoming.method ?? "GET",
          headers,
          ...(body.length > 0 && { body }),
        }),
      );
      outgoing.writeHead(response.status, Object.fromEntries(response.headers)).end(await response.text());
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const started = new FunctionUrl((server.address() as AddressInfo).port, region);
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return started;
  }

  private constructor(port: number, region: string) {
    this.url = new URL(`http://abcdefghij0123456789.lambda-url.${region}.on.aws:${port}`);
    this.dispatcher = new Agent({
      connect: { lookup: (_name, _options, done) => done(null, [{ address: "127.0.0.1", family: 4 }]) },
    });
  }
}

// Follows "Create a signed AWS API request" in the IAM User Guide step by step.
function findMistake(
  { method, url = "", headers }: IncomingMessage,
  body: Buffer,
  { id, secret, sessionToken }: AwsKeys,
  region: string,
): string | undefined {
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)$/.exec(
      headers.authorization ?? "",
    );
  if (!match) return "MissingAuthenticationTokenException";
  const [, keyId, day, inRegion, service, signedHeaders, signature] = match;
  const time = String(headers["x-amz-date"]);
  if (keyId !== id || sessionToken !== headers["x-amz-security-token"]) return "UnrecognizedClientException";
  if (inRegion !== region || service !== "lambda" || !time.startsWith(day)) return "SignatureDoesNotMatch";
  const signed = signedHeaders.split(";");
  const needed = Object.keys(headers).filter((name) => name === "host" || name.startsWith("x-amz-"));
  if (needed.some((name) => !signed.includes(name))) return "SignatureDoesNotMatch";
  const [path, query = ""] = url.split("?");
  const canonicalHeaders = signed.map((name) => `${name}:${String(headers[name]).trim()}\n`).join("");
  const canonical = [method, path, query.split("&").sort().join("&"), canonicalHeaders, signedHeaders, sha256(body)];
  const scope = `${day}/${region}/lambda/aws4_request`;
  const text = ["AWS4-HMAC-SHA256", time, scope, sha256(canonical.join("\n"))].join("\n");
  const key = [day, region, "lambda", "aws4_request"].reduce<string | Buffer>(hmac, `AWS4${secret}`);
  return hmac(key, text).toString("hex") === signature ? undefined : "SignatureDoesNotMatch";
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function sha256(bytes: string | Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
