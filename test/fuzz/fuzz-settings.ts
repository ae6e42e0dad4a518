import type { ModelRules, ModelSetting } from "./model/rules.ts";

const noRules: ModelRules = { headers: [], cookies: [], query: [], form: [], json: [], dropBodies: [] };
const key = { value: "a key of the fuzz test" };

export const loopKey = "a key for loops of the fuzz test";

/** What each connection in turn is fed to: everything as it came, and three agents with rules. */
export const fuzzSettings: readonly ModelSetting[] = [
  { rules: noRules, fraction: 0.75 },
  {
    rules: {
      headers: ["authorization", "x-*-token", "h*t"],
      cookies: ["s*d", "token"],
      query: ["token", "*key*"],
      form: ["password", "card*"],
      json: [
        ["user", "password"],
        ["**", "token"],
        ["items", "*", "pin"],
      ],
      dropBodies: [{ path: "/login*" }, { path: "/files/*", type: "image/*" }],
      key,
    },
    fraction: 1,
    loopKey,
  },
  {
    rules: {
      headers: ["cookie", "content-*"],
      cookies: [],
      query: ["*"],
      form: ["a*", "*word"],
      json: [["**", "a*"], ["user"]],
      dropBodies: [{ type: "image/*" }],
    },
    fraction: 0.5,
    stickyBy: "src",
    methods: ["GET", "POST", "PUT"],
    path: "^/(api|form)",
  },
  {
    rules: { ...noRules, cookies: ["*"], json: [["user", "**", "pin"], ["list"]], form: ["x"], key },
    fraction: 0.75,
    stickyBy: { cookie: "sid" },
    header: ["host", "[.a]"],
  },
];
