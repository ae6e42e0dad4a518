import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type IncomingMessage, request, type ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { CertificateAuthority } from "../data/certificates.ts";
import { temporaryDirectory } from "../data/temporary-directory.ts";
import { replayArn } from "../lambda/lambda-api.ts";
import { urlEvent } from "../lambda/url-event.ts";

/** A call to an AWS service. */
export interface AwsCall {
  /** The service as policies name it: `sqs`, `dynamodb`, `s3`, `lambda`. */
  readonly service: string;
  /** The region in the host name. */
  readonly region: string;
  /** The region in the signature. */
  readonly signedFor: string;
  /** The access key in the signature. */
  readonly principal: string;
  /** The action as policies name it: `sqs:SendMessage`. */
  readonly action: string;
  /** ARNs. */
  readonly resources: readonly string[];
  /** The values that policy conditions compare, by condition key. */
  readonly context: Readonly<Record<string, string | readonly string[]>>;
}

export interface AwsGatewayOptions {
  readonly regions: readonly string[];
  /** The account of queues and tables that are named without one. */
  readonly account: string;
  /** Returns the emulator's port for a call, or why the call is refused. */
  readonly decide: (call: AwsCall) => { readonly port: number } | { readonly refused: string };
  /** Answers requests to any function URL. */
  readonly functionUrl: (event: unknown) => Promise<UrlAnswer>;
}

/** A function's answer to an event of a function URL. */
export interface UrlAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * The endpoints of AWS in some regions, with TLS and their real names, in front of emulators. Records which calls a program makes
 * to which region with which credentials, and refuses calls that policies do not allow. Programs find it through `env`.
 */
export class AwsGateway {
  /** A text for each refused call. */
  readonly refusals: string[] = [];
  readonly calls: AwsCall[] = [];
  readonly #options: AwsGatewayOptions;
  readonly #server: Server;
  readonly #authorityFile: string;

  /** Starts a gateway that is stopped at the end of the test. */
  static async start(options: AwsGatewayOptions): Promise<AwsGateway> {
    const gateway = new AwsGateway(options);
    gateway.#server.listen(0, "127.0.0.1");
    await once(gateway.#server, "listening");
    onTestFinished(() => {
      gateway.#server.closeAllConnections();
      gateway.#server.close();
    });
    return gateway;
  }

  private constructor(options: AwsGatewayOptions) {
    this.#options = options;
    const authority = new CertificateAuthority(temporaryDirectory(), "aws");
    const hosts = options.regions.flatMap((region) => [
      `*.${region}.amazonaws.com`,
      `*.s3.${region}.amazonaws.com`,
      `*.ddb.${region}.amazonaws.com`,
      `*.lambda-url.${region}.on.aws`,
    ]);
    const { cert, key } = authority.issue("endpoints", 1, hosts);
    this.#authorityFile = authority.file;
    this.#server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (incoming, response) => {
      this.#pass(incoming, response).catch((error: Error) => {
        if (!response.headersSent) response.writeHead(502);
        response.end(error.message);
      });
    });
  }

  /** The environment of a program that calls this gateway as the principal. */
  env(principal: string): Record<string, string> {
    return {
      AWS_ACCESS_KEY_ID: principal,
      AWS_SECRET_ACCESS_KEY: "test",
      AWS_GATEWAY_PORT: String((this.#server.address() as AddressInfo).port),
      NODE_EXTRA_CA_CERTS: this.#authorityFile,
      NODE_OPTIONS: `--import=${fileURLToPath(new URL("aws-redirect.ts", import.meta.url))}`,
    };
  }

  async #pass(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = Buffer.concat(await incoming.toArray());
    if (incoming.headers.host?.endsWith(".on.aws")) return this.#answer(incoming, body, response);
    const call = toCall(incoming, body, this.#options.account);
    this.calls.push(call);
    const decision = this.#options.decide(call);
    if ("refused" in decision) {
      this.refusals.push(decision.refused);
      refuse(response, call, decision.refused);
      return;
    }
    const { method, url: path } = incoming;
    const passed = call.service === "dynamodb" ? withPlainNames(body) : body;
    const headers = { ...incoming.headers, "content-length": passed.length };
    const outgoing = request({ host: "127.0.0.1", port: decision.port, method, path, headers });
    outgoing.end(passed);
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  }

  async #answer({ method = "", url = "", headers }: IncomingMessage, body: Buffer, response: ServerResponse) {
    if (!/Credential=[^,]*\/lambda\/aws4_request/.test(headers.authorization ?? "")) {
      response.writeHead(403).end('{"Message":"Forbidden"}');
      return;
    }
    const event = urlEvent(method, url, body.length > 0 ? body.toString() : undefined);
    const { statusCode, headers: answered, body: text } = await this.#options.functionUrl(event);
    response.writeHead(statusCode, answered).end(text);
  }
}

/** Throws for an unknown host or action. */
function toCall(incoming: IncomingMessage, body: Buffer, account: string): AwsCall {
  const { host = "", authorization = "", "x-amz-target": target = "" } = incoming.headers;
  const [, bucket, service, region] = /^(?:(.+)\.)?(\w+)\.([a-z0-9-]+)\.amazonaws\.com$/.exec(host) ?? [];
  const [, principal, signedFor] = /Credential=([^/]+)\/\d+\/([^/]+)\//.exec(authorization) ?? [];
  const place = { service, region, signedFor, principal, context: {} };
  const { pathname, searchParams } = new URL(incoming.url ?? "", `https://${host}`);
  switch (service) {
    case "sqs": {
      const action = String(target)
        .replace("AmazonSQS.", "")
        .replace(/Batch$/, "");
      const { QueueUrl } = JSON.parse(body.toString()) as { readonly QueueUrl: string };
      const [owner, name] = new URL(QueueUrl).pathname.split("/").slice(1);
      return { ...place, action: `sqs:${action}`, resources: [`arn:aws:sqs:${region}:${owner}:${name}`] };
    }
    // The SDK calls the endpoint of an account if it knows the account, from an ARN.
    case "ddb":
    case "dynamodb": {
      const asked = JSON.parse(body.toString());
      const { TableName, RequestItems = {} } = asked as { readonly TableName?: string; readonly RequestItems?: object };
      const names = TableName === undefined ? Object.keys(RequestItems) : [TableName];
      const resources = names.map((name) =>
        name.startsWith("arn:") ? name : `arn:aws:dynamodb:${region}:${account}:table/${name}`,
      );
      const context = { "dynamodb:LeadingKeys": toPartitions(asked) };
      return {
        ...place,
        service: "dynamodb",
        action: `dynamodb:${String(target).split(".").at(-1)}`,
        resources,
        context,
      };
    }
    case "s3": {
      const action = toS3Action(`${incoming.method}`, searchParams);
      const key = action === "s3:ListBucket" ? "" : decodeURIComponent(pathname);
      // The body has the keys of a batch delete.
      const keys = searchParams.has("delete")
        ? Array.from(body.toString().matchAll(/<Key>([^<]*)<\/Key>/g), ([, name]) => `/${name}`)
        : [key];
      const context = { "s3:prefix": searchParams.get("prefix") ?? "" };
      return { ...place, action, resources: keys.map((name) => `arn:aws:s3:::${bucket}${name}`), context };
    }
    case "lambda": {
      if (incoming.method === "GET") return { ...place, action: "lambda:ListEventSourceMappings", resources: ["*"] };
      const uuid = pathname.split("/").at(-1) ?? "";
      // The ids that `LambdaApi` returns.
      const context = { "lambda:FunctionArn": replayArn(uuid.replace("uuid-", ""), region, account) };
      const mapping = `arn:aws:lambda:${region}:${account}:event-source-mapping:${uuid}`;
      return { ...place, action: "lambda:UpdateEventSourceMapping", resources: [mapping], context };
    }
    default:
      throw new Error(`unknown host: ${host}`);
  }
}

// biome-ignore lint/suspicious/noExplicitAny: what the SDK sends to DynamoDB.
function toPartitions({ Key, RequestItems = {}, ExpressionAttributeValues }: any): readonly string[] {
  // biome-ignore lint/suspicious/noExplicitAny: the same.
  const keys = Object.values<any>(RequestItems).flatMap(({ Keys }) => Keys);
  if (Key) keys.push(Key);
  return keys.length > 0 ? keys.map(({ pk }) => pk.S) : [ExpressionAttributeValues[":pk"].S];
}

function toS3Action(method: string, query: URLSearchParams): string {
  if (query.has("delete") || method === "DELETE") return "s3:DeleteObject";
  if (method === "PUT") return "s3:PutObject";
  return query.has("list-type") ? "s3:ListBucket" : "s3:GetObject";
}

/** Replaces ARNs of tables by names: the emulator knows only names. */
function withPlainNames(body: Buffer): Buffer {
  return Buffer.from(body.toString().replaceAll(/arn:aws:dynamodb:[^:"]+:\d{12}:table\//g, ""));
}

function refuse(response: ServerResponse, { service }: AwsCall, message: string): void {
  const headers = { "content-type": service === "s3" ? "application/xml" : "application/x-amz-json-1.0" };
  const type =
    service === "dynamodb" ? "com.amazon.coral.service#AccessDeniedException" : "com.amazonaws.sqs#AccessDenied";
  const xml = `<Error><Code>AccessDenied</Code><Message>${message}</Message></Error>`;
  response.writeHead(403, headers).end(service === "s3" ? xml : JSON.stringify({ __type: type, message }));
}
