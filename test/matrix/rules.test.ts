import { afterEach, describe, expect, it } from "vitest";
import type { JsonServer } from "../../relay/demo/json-server.ts";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { withRules } from "../support/processes/haproxy-lines.ts";
import { haproxyModes } from "../support/processes/haproxy-modes.ts";
import { Rig } from "../support/processes/rig.ts";
import { sendUpload, type Upload } from "../support/servers/upload.ts";

// HAProxy repeats the rules above a wait for each part of a body: these come after the wait and count each request once.
const frontendRules = [
  "tcp-request content reject if { path_beg /rejected }",
  "tcp-request content track-sc0 base32 table counts",
  "tcp-request content sc-inc-gpc0(0)",
  "tcp-request content accept",
  "http-request set-header x-counted %[sc_get_gpc0(0)]",
  "timeout tarpit 50ms",
  "option forwardfor",
  "http-request deny if { path_beg /api/v1/deny }",
  "http-request auth if { path_beg /api/v1/auth }",
  "http-request tarpit if { path_beg /api/v1/tarpit }",
  "http-request return status 204 if { path_beg /api/v1/return }",
  "http-request redirect location /elsewhere if { path_beg /api/v1/redirect }",
  "http-request set-header x-user 7",
  "http-request add-header x-real-src %[src]",
  "http-request del-header x-secret",
  "http-request set-query added=1 if { path_beg /api/v1/query }",
  "http-request replace-path ^/public/(.*) /api/v1/\\1",
];
const backendRules = ["http-request deny if { path_end /refused }", "http-request set-header x-backend set"];
const backends = `
backend counts
    stick-table type integer size 1k expire 1h store gpc0

backend other
    ${backendRules.join("\n    ")}
    server primary1 "\${RELAY_PRIMARY}"
`;
const useBackend = "use_backend other if { path_beg /api/v1/other }";
const sendGroup = "http-request send-spoe-group mirror mirror if { path_beg /api/v1/ }";

const statuses: Readonly<Record<string, string>> = {
  "/rejected": "closed",
  "/api/v1/deny": "403",
  "/api/v1/auth": "401",
  "/api/v1/tarpit": "500",
  "/api/v1/return": "204",
  "/api/v1/redirect": "302",
  "/api/v1/query?a=b": "200",
  "/public/page": "200",
  "/api/v1/other/page": "200",
  "/api/v1/other/refused": "403",
  "/api/v1/body": "200",
};
/** What the front end lets through, as its rules leave it. */
const afterRules = ["/api/v1/body", "/api/v1/other/page", "/api/v1/page", "/api/v1/query?added=1"];
const added = { "x-user": "7", "x-real-src": "127.0.0.1" };

interface Variant {
  readonly name: string;
  /** Changes haproxy.cfg and spoe.cfg. */
  readonly configure: (text: string) => string;
  readonly mirrored: readonly string[];
  /** Headers of every mirrored request. */
  readonly headers: Readonly<Record<string, string | undefined>>;
}

const variants: readonly Variant[] = [
  {
    name: "after the rules of the front end, as shipped",
    configure: (text) => withRules(text, [...frontendRules, useBackend]),
    mirrored: [...afterRules, "/api/v1/other/refused"],
    headers: { ...added, "x-secret": undefined, "x-backend": undefined },
  },
  {
    name: "before the rules",
    configure: (text) =>
      withRules(text, [...frontendRules, useBackend]).replace("event on-backend-http", "event on-frontend-http"),
    mirrored: Object.keys(statuses).filter((path) => path.startsWith("/api/")),
    headers: { "x-secret": "1", "x-user": undefined, "x-real-src": undefined, "x-backend": undefined },
  },
  {
    name: "by a rule of the front end",
    configure: (text) => toGroup(withRules(text, [...frontendRules, sendGroup, useBackend])),
    mirrored: [...afterRules, "/api/v1/other/refused"],
    headers: { ...added, "x-secret": undefined, "x-backend": undefined },
  },
  {
    // HAProxy's documentation says that a listen section has no such event.
    name: "before the rules of a listen section",
    configure: (text) => toListen(withRules(text, [...frontendRules, ...backendRules])),
    mirrored: Object.keys(statuses).filter((path) => path.startsWith("/api/")),
    headers: { "x-secret": "1", "x-user": undefined, "x-real-src": undefined, "x-backend": undefined },
  },
  {
    name: "by a rule of a listen section",
    configure: (text) => toGroup(toListen(withRules(text, [...frontendRules, ...backendRules, sendGroup]))),
    mirrored: afterRules,
    headers: { ...added, "x-secret": undefined, "x-backend": "set" },
  },
  {
    name: "by a rule of a back end",
    configure: (text) => toGroup(withRules(toBackend(text), [...frontendRules, "use_backend other"])),
    mirrored: afterRules,
    headers: { ...added, "x-secret": undefined, "x-backend": "set" },
  },
];

let rig: Rig;

afterEach(async () => {
  await rig?.stop();
});

describe.each(haproxyModes)("with mode $mode", ({ configure: toMode = (text) => text }) => {
  it.each(variants)("HAProxy mirrors $name", async ({ configure, mirrored, headers }) => {
    rig = await Rig.start({
      targets: {
        shadow: "rate: unlimited",
        addressed: 'rate: unlimited, headers: { set: { "x-forwarded-for": { src: true } } }',
      },
      configure: (text, file) => {
        const own = file === "haproxy.cfg" ? text + backends : text;
        return configure(toMode(own));
      },
    });
    const port = Number(new URL(rig.frontend).port);
    const answers = await Promise.all(Object.keys(statuses).map((path) => sendUpload(uploadTo(path), port)));
    expect(Object.fromEntries(Object.keys(statuses).map((path, i) => [path, answers[i].seen]))).toEqual(statuses);
    expect(addsUp(await rig.settledLedger())).toBe(true);

    const { primary, shadows } = rig;
    const pathsAt = ({ received }: JsonServer) => received.map(({ path }) => path).sort();
    expect(pathsAt(primary)).toEqual(afterRules);
    expect(primary.received.map((request) => request.headers["x-counted"])).toEqual(afterRules.map(() => "1"));
    expect(pathsAt(shadows.shadow)).toEqual([...mirrored].sort());
    const names = Object.keys(headers);
    for (const request of shadows.shadow.received) {
      expect(Object.fromEntries(names.map((name) => [name, request.headers[name]]))).toEqual(headers);
      // HAProxy adds it for the primary later than it mirrors.
      expect(request.headers["x-forwarded-for"]).toBe(undefined);
    }
    expect(primary.received.map((request) => request.headers["x-forwarded-for"])).toEqual(
      afterRules.map(() => "127.0.0.1"),
    );
    expect(new Set(shadows.addressed.received.map((request) => request.headers["x-forwarded-for"]))).toEqual(
      new Set(["127.0.0.1"]),
    );
    const body = shadows.shadow.received.find(({ path }) => path === "/api/v1/body")?.body;
    expect(body?.toString()).toBe("1234512345");
  });
});

function uploadTo(path: string): Upload {
  const five = Buffer.from("12345");
  const request = { over: "HTTP/1.1", path, headers: { "x-secret": "1" } } as const;
  return path === "/api/v1/body" ? { ...request, method: "POST", parts: [five, 100, five] } : request;
}

/** Either file of the example, with a group instead of an event. */
function toGroup(text: string): string {
  if (!text.includes("spoe-agent mirror")) return text;
  return `${text.replace(/^ +messages +mirror$/m, "    groups mirror").replace(/^ +event .*$/m, "")}
spoe-group mirror
    messages mirror
`;
}

/** The example with a section `listen` instead of the front end and its back end. */
function toListen(text: string): string {
  return text
    .replace("frontend web", "listen web")
    .replace(/^ +default_backend primary$/m, '    server primary1 "$${RELAY_PRIMARY}"');
}

/** The example with what mirrors in the back end `other` instead of the front end. */
function toBackend(text: string): string {
  const lines = /^ +(?:filter spoe|tcp-request|acl streams) .*\n/gm;
  const moved = [...text.matchAll(lines)].map(([line]) => line).join("");
  return text
    .replaceAll(lines, "")
    .replace("\nbackend other\n", `\nbackend other\n${moved}`)
    .replace(/^ +http-request set-header x-backend set$/m, `$&\n    ${sendGroup}`);
}
