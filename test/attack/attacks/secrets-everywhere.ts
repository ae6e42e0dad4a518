import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bin, headersBinary, hello, notify, str } from "../../support/spop/spop-frames.ts";
import type { Attack } from "../attack.ts";
import type { AttackedProcess, Ground } from "../ground.ts";

const patienceMs = 20_000;
let count = 0;
const next = () => `Hidden${100 + count++}`;

interface Sent {
  readonly path: string;
  readonly headers: readonly string[];
  readonly answer: readonly string[];
  readonly body: string;
}

const json = ["content-type", "application/json"];
const form = ["content-type", "application/x-www-form-urlencoded"];

/** Requests with secrets of their own in every place where clients put them. */
function createRequests(): readonly Sent[] {
  const head = (type: readonly string[]) => [
    ...["host", "shop.example", ...type, "authorization", `Bearer ${next()}`, "cookie", `theme=dark; sid=${next()}`],
    ...["x-api-key", next(), "x_access_token", next(), "x-auth", next(), "x-amz-security-token", next()],
    ...["referer", `https://shop.example/a?b=c&token=${next()}`, "x-original-url", `/a?api_key=${next()}`],
  ];
  const path = () =>
    [
      `/api/orders;jsessionid=${next()}?page=2&token=${next()}&pa%73sword=${next()}&user[passwd]=${next()}`,
      `&apiKey=${next()};sig=${next()}&X-Amz-Signature=${next()}&next=%2Fcb%3Fauth%3D${next()}`,
    ].join("");
  const answer = () => ["set-cookie", `sid=${next()}; Path=/`, "location", `https://app.example/cb?auth_key=${next()}`];
  const document = () =>
    `{"user":{"password":"${next()}","pass\\u0077ord":"${next()}"},"token":["${next()}",{"a":"${next()}"}],"apiKey":"${next()}","token":"${next()}"}`;
  const bodies: readonly (readonly [type: readonly string[], body: string])[] = [
    [json, document()],
    [json, document().slice(0, -20)],
    [["content-type", "text/plain"], document()],
    [form, `name=tolkien&password=${next()}&p%61ssword=${next()}&user[token]=${next()};secret=${next()}`],
    [
      ["content-type", "multipart/form-data; boundary=b"],
      `--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n${next()}\r\n--b--\r\n`,
    ],
  ];
  return bodies.map(([type, body]) => ({ path: path(), headers: head(type), answer: answer(), body }));
}

const rules = `redact:
    headers: [authorization, "x-*-key", "x_*_token", x-auth, "x-amz-*"]
    cookies: [sid]
    query: [jsessionid, "*token*", "*pass*", "*key*", sig, "x-amz-*", "auth*"]
    form: ["*pass*", "*token*", secret]
    json: ["**.password", "**.token", "**.apikey"]`;

export const attack: Attack = {
  name: "secrets-everywhere",
  promise: "no secret is shown, and none is stored that a rule of agent.redact names",
  async run(ground) {
    const leaks: string[] = [];
    const note = (where: string, text: string, sent: string) => {
      const secrets = sent.match(/Hidden\d{3}/g) ?? [];
      const shown = secrets.filter((secret) => text.includes(secret));
      if (shown.length > 0) leaks.push(`${where} ${shown.length} of ${secrets.length}`);
    };
    await look(ground, note);
    await store(ground, note);
    const wrong = join(ground.directory, "wrong.yaml");
    writeFileSync(
      wrong,
      'queue: embedded:./data\ntargets: { t: { url: "http://user:hunter2@127.0.0.1:1", rate: 1/s } }\n',
    );
    const check = await output(ground, ["config", "check", "--config", wrong]);
    const mirror = await output(ground, ["mirror", "-u", "http://user:hunter2@127.0.0.1:1"]);
    if (`${check}${mirror}`.includes("hunter2")) leaks.push("password of a URL in an error");
    const seen = leaks.length === 0 ? "0 secrets shown or stored" : `secrets in: ${leaks.join("; ")}`;
    return { held: leaks.length === 0, seen };
  },
};

type Note = (where: string, text: string, sent: string) => void;

/** What people see: commands, logs, traces. */
async function look(ground: Ground, note: Note): Promise<void> {
  const requests = createRequests();
  const sent = JSON.stringify(requests);
  const { file, port } = await configure(ground, "shown", "");
  const relay = ground.start(["up", "--config", file]);
  await appears(relay, '"event":"replaying"');
  await send(port, requests);
  let letters = "";
  for (const endMs = Date.now() + patienceMs; !/^t +\S+ /m.test(letters) && Date.now() < endMs; await sleep(200)) {
    letters = await output(ground, ["dlq", "list", "--config", file]);
  }
  const [, letter = "none"] = /^t +(\S+) /m.exec(letters) ?? [];
  const commands = [
    ...[
      ["captures", "cat", "all"],
      ["captures", "cat", "all", "--format", "json"],
      ["dlq", "show", "t", letter],
    ],
    ...["goreplay", "har", "k6", "curl"].map((format) => ["export", "all", "--format", format, "--redact"]),
  ];
  for (const command of commands) {
    const text = await output(ground, [...command, "--config", file]);
    if (!text.includes("shop.example") && !text.includes("page=2")) throw new Error(`${command.join(" ")}: ${text}`);
    note(command.slice(0, command[0] === "export" ? 4 : 2).join(" "), text, sent);
  }
  note("the log", letters + relay.output, sent);
  relay.terminate();
  await relay.exited();
  const dump = ground.start(["agent", "--dump", "--config", file], { NODE_DEBUG: "spop" });
  await appears(dump, '"event":"listening"');
  await send(port, requests);
  await appears(dump, "page=2");
  dump.terminate();
  await dump.exited();
  note("--dump and NODE_DEBUG", dump.output, sent);
}

/** What the disk holds if the agent redacts. */
async function store(ground: Ground, note: Note): Promise<void> {
  const requests = createRequests();
  let place = await configure(ground, "stored", rules);
  let relay = ground.start(["up", "--config", place.file]);
  await appears(relay, '"event":"replaying"');
  if (relay.ended) {
    // An older version, which knows headers only.
    place = await configure(ground, "older", "redact: { headers: [authorization, cookie, x-api-key] }");
    relay = ground.start(["up", "--config", place.file]);
    await appears(relay, '"event":"replaying"');
  }
  await send(place.port, requests);
  let kept = "";
  for (const endMs = Date.now() + patienceMs; !kept.includes("page=2") && Date.now() < endMs; await sleep(200)) {
    kept = await output(ground, ["captures", "cat", "all", "--format", "json", "--secrets", "--config", place.file]);
  }
  relay.terminate();
  await relay.exited();
  if (!kept.includes("page=2")) throw new Error(`nothing is in the capture: ${kept}`);
  const files = readdirSync(join(place.file, ".."), { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const bytes = files.map(({ parentPath, name }) => readFileSync(join(parentPath, name), "latin1"));
  note("the capture", kept, JSON.stringify(requests));
  note("files", bytes.join("\n"), JSON.stringify(requests));
}

async function configure(
  ground: Ground,
  name: string,
  redact: string,
): Promise<{ readonly file: string; readonly port: number }> {
  const [port, agentAdmin, hostAdmin, shadow] = await ground.ports(4);
  const directory = join(ground.directory, name);
  mkdirSync(directory);
  const file = join(directory, "spoa-relay.yaml");
  writeFileSync(
    file,
    `agent:
  listen: "127.0.0.1:${port}"
  admin: "127.0.0.1:${agentAdmin}"
  pack: { linger: 50ms }
  drain: 100ms
  ${redact}
host: { admin: "127.0.0.1:${hostAdmin}" }
queue: embedded:./data
targets: { t: { url: "http://127.0.0.1:${shadow}", rate: unlimited, attempts: 1, truncated: send } }
captures: { all: { store: ./captures } }
`,
  );
  return { file, port };
}

async function send(port: number, requests: readonly Sent[]): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.resume().write(hello());
  requests.forEach(({ path, headers, answer, body }, i) => {
    const length = body.endsWith("}") || body.endsWith("\n") || !body.startsWith("{") ? body.length : body.length + 20;
    const args = [
      ...[
        ["id", str(`id-${i}`)],
        ["method", str("POST")],
        ["pathq", str(path)],
        ["ver", str("1.1")],
      ],
      ...[
        ["hdrs", bin(headersBinary([...headers, "content-length", String(length)]))],
        ["body", bin(body)],
      ],
      ...[
        ["status", Buffer.from([3, 200])],
        ["res_hdrs", bin(headersBinary(answer))],
      ],
    ] as [string, Buffer][];
    socket.write(notify({ streamId: i + 1, messages: [{ args }] }));
  });
  await sleep(1_000);
  socket.destroy();
}

async function appears(process: AttackedProcess, text: string): Promise<void> {
  for (const endMs = Date.now() + patienceMs; !process.output.includes(text) && Date.now() < endMs; await sleep(50)) {
    if (process.ended) return;
  }
}

async function output(ground: Ground, args: readonly string[]): Promise<string> {
  const process = ground.start(args);
  await Promise.race([process.exited(), sleep(patienceMs)]);
  await sleep(50);
  return process.output;
}
