import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { until } from "../support/clocks/until.ts";
import { unpackedCommand } from "../support/debian/unpacked-packages.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { moto, motoRoot } from "./moto-release.ts";

// moto answers each request in a thread, and another one may change an item between a condition and its update. DynamoDB applies
// the updates of an item one after the other.
const oneAfterTheOther = `
import sys, threading
from moto.dynamodb.responses import DynamoHandler
from moto.server import main
lock, answer = threading.Lock(), DynamoHandler.call_action
def answer_alone(handler):
    with lock:
        return answer(handler)
DynamoHandler.call_action = answer_alone
main(sys.argv[1:])
`;

/** A running moto: all services of AWS at one address, in all regions. */
export class MotoServer {
  readonly url: string;
  readonly #child: ChildProcess;

  /** Throws if moto was not fetched or does not start. */
  static async start(): Promise<MotoServer> {
    const [port] = await freePorts(1);
    const [program, ...args] = unpackedCommand(moto);
    const usr = join(motoRoot, "usr");
    const server = [join(usr, "bin/python3"), "-c", oneAfterTheOther, "-H", "127.0.0.1", "-p", `${port}`];
    const env = {
      ...process.env,
      PYTHONHOME: usr,
      PYTHONPATH: join(usr, "lib/python3/dist-packages"),
      PYTHONDONTWRITEBYTECODE: "1",
      // IAM is not emulated, and a managed policy of AWS takes long to load.
      MOTO_IAM_LOAD_MANAGED_POLICIES: "false",
    };
    const child = spawn(program, [...args, ...server], { env, stdio: ["ignore", "ignore", "pipe"] });
    let errors = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      // Each request is a line: only the last ones are kept.
      errors = (errors + text).slice(-4_000);
    });
    const url = `http://127.0.0.1:${port}`;
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`moto does not start: ${errors}`);
      return fetch(`${url}/moto-api/data.json`).then(
        ({ ok }) => ok,
        () => false,
      );
    }, 120_000);
    return new MotoServer(url, child);
  }

  private constructor(url: string, child: ChildProcess) {
    this.url = url;
    this.#child = child;
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
}
