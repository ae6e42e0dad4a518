import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { freePorts } from "../servers/free-ports.ts";
import { answerBatch, refuse } from "./sqs-endpoint.ts";

export type QueueFailure =
  | "refuses connections"
  | "never answers"
  | "answers 500"
  | "throttles"
  | "denies access"
  | "finds the credentials expired"
  | "fails every other entry inside a 200";

interface Batch {
  readonly Entries: readonly { readonly Id: string; readonly MessageBody: string }[];
}

/** A queue over HTTP on loopback that fails in one way until it is healed, and records the stored packs. */
export class FailingSqs {
  /** Summaries of the stored packs, in the order of arrival. */
  readonly stored: { readonly pack: string; readonly seq: number; readonly count: number }[] = [];
  readonly url: string;
  readonly #failure: QueueFailure;
  readonly #port: number;
  readonly #server = createServer((request, response) => this.#answer(request, response));
  #healed = false;

  static async start(failure: QueueFailure): Promise<FailingSqs> {
    const [port] = await freePorts(1);
    const queue = new FailingSqs(failure, port);
    if (failure !== "refuses connections") await queue.#listen();
    return queue;
  }

  private constructor(failure: QueueFailure, port: number) {
    this.#failure = failure;
    this.#port = port;
    // No idle timeout: closing a connection just when the client uses it again would be a different failure.
    this.#server.keepAliveTimeout = 0;
    this.url = `http://127.0.0.1:${port}/123456789012/packs`;
  }

  async heal(): Promise<void> {
    this.#healed = true;
    if (this.#failure === "refuses connections") await this.#listen();
    // Only here: in other modes this would cut a call in progress, which would be a different failure.
    if (this.#failure === "never answers") this.#server.closeAllConnections();
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #listen(): Promise<void> {
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const batch = JSON.parse(Buffer.concat(chunks).toString()) as Batch;
    if (this.#healed) return this.#store(batch, response, () => false);
    switch (this.#failure) {
      case "answers 500":
        return refuse(response, 500, "InternalFailure");
      case "throttles":
        return refuse(response, 400, "ThrottlingException", "Rate exceeded");
      case "denies access":
        return refuse(response, 403, "AccessDeniedException");
      case "finds the credentials expired":
        return refuse(response, 403, "ExpiredToken", "The security token included in the request is expired");
      case "fails every other entry inside a 200":
        return this.#store(batch, response, (seq) => seq % 2 === 0);
    }
  }

  #store(batch: Batch, response: ServerResponse, fails: (seq: number) => boolean): void {
    const summaries = batch.Entries.map(({ Id, MessageBody }) => ({ id: Id, ...JSON.parse(MessageBody) }));
    const failed = summaries.filter(({ seq }) => fails(seq));
    this.stored.push(...summaries.filter((summary) => !failed.includes(summary)));
    const entry = { Code: "InternalError", SenderFault: false, Message: "try again" };
    const answer = answerBatch(batch, Object.fromEntries(failed.map(({ id }) => [id, entry])));
    response.writeHead(200, { "content-type": "application/x-amz-json-1.0" }).end(JSON.stringify(answer));
  }
}
