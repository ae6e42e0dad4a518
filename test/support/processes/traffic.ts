import { seededRandom } from "../data/seeded-random.ts";
import { bin, bool, headersBinary, ipv4, type Message, str, uint32 } from "../spop/spop-frames.ts";

/** A visitor with a browser, or a program with a token. Most headers are the same in each of its requests. */
interface Client {
  readonly kind: "browser" | "program";
  readonly address: readonly number[];
  readonly headers: readonly string[];
}

const clients = 4_000;
const browsersShare = 0.6;

/**
 * Requests like those of browsers and API clients, the same for the same seed: about 1.2 kB each, which zstd compresses to a
 * third. Addresses, sessions, tokens, ids and traces are as random as in reality.
 */
export class Traffic {
  readonly #random: () => number;
  readonly #clients: readonly Client[];
  #sent = 0;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#clients = Array.from({ length: clients }, () => this.#createClient());
  }

  /** The message of the next request, with the arguments of the example configuration. */
  next(): Message {
    const { kind, address, headers } = this.#pick(this.#clients);
    const { method, path, more, body } = kind === "browser" ? this.#page() : this.#call();
    return {
      args: [
        ["id", str(`${this.#hex(8)}:${(++this.#sent).toString(16).padStart(8, "0")}`)],
        ["method", str(method)],
        ["pathq", str(path)],
        ["ver", str(kind === "browser" ? "2.0" : "1.1")],
        ["hdrs", bin(headersBinary([...headers, ...more]))],
        ["body", bin(body)],
        ["body_len", uint32(body.length)],
        ["whole", bool(true)],
        ["src", ipv4(...address)],
      ],
    };
  }

  #page() {
    const path = this.#path();
    const posts = this.#random() < 0.1;
    const body = posts ? this.#form() : "";
    const more = [
      "referer",
      `https://shop.example.com${this.#path()}`,
      "x-request-id",
      this.#uuid(),
      ...(posts ? ["content-type", "application/x-www-form-urlencoded", "content-length", `${body.length}`] : []),
    ];
    return { method: posts ? "POST" : "GET", path, more, body };
  }

  #call() {
    const method = this.#pick(["GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE"]);
    const body = /^P/.test(method) ? this.#json() : "";
    const more = [
      "traceparent",
      `00-${this.#hex(32)}-${this.#hex(16)}-01`,
      "x-request-id",
      this.#uuid(),
      ...(body === "" ? [] : ["content-type", "application/json", "content-length", `${body.length}`]),
      ...(method === "POST" ? ["idempotency-key", this.#uuid()] : []),
    ];
    return { method, path: `/api/v2/${this.#pick(resources)}/${this.#number(10_000_000)}`, more, body };
  }

  #createClient(): Client {
    const address = Array.from({ length: 4 }, () => 1 + this.#number(254));
    const forwarded = [
      ...["x-forwarded-for", address.join("."), "x-forwarded-proto", "https", "x-forwarded-port", "443"],
      ...["via", "1.1 edge.example.com", "cache-control", "no-cache"],
    ];
    if (this.#random() >= browsersShare) {
      const token = `${this.#token(36)}.${this.#token(275)}.${this.#token(43)}`;
      return {
        kind: "program",
        address,
        headers: [
          ...["host", "api.example.com", "user-agent", this.#pick(programs), "accept", "application/json"],
          ...["accept-encoding", "gzip", "authorization", `Bearer ${token}`, ...forwarded],
        ],
      };
    }
    const version = 120 + this.#number(24);
    const system = this.#pick(systems);
    const startedAt = 1_760_000_000 + this.#number(30_000_000);
    const cookies = [
      `session=${this.#token(64)}`,
      `_ga=GA1.1.${this.#number(2 ** 31)}.${startedAt}`,
      `_ga_7QF2XN1B9K=GS2.1.s${startedAt + this.#number(1_000_000)}$o${this.#number(60)}$g1$t${startedAt}$j${this.#number(60)}$l0$h0`,
      `csrf=${this.#token(32)}`,
      `theme=${this.#pick(["dark", "light"])}`,
      `cart=${this.#uuid()}`,
      `consent=${this.#token(72)}.${version}.accepted:necessary,preferences,statistics,marketing.region:eu`,
    ];
    return {
      kind: "browser",
      address,
      headers: [
        ...["host", "shop.example.com", "sec-ch-ua", `"Chromium";v="${version}", "Not=A?Brand";v="24"`],
        ...["sec-ch-ua-mobile", system.mobile ? "?1" : "?0", "sec-ch-ua-platform", `"${system.name}"`],
        "user-agent",
        `Mozilla/5.0 (${system.agent}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${version}.0.0.0 Safari/537.36`,
        ...["accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"],
        ...["sec-fetch-site", "same-origin", "sec-fetch-mode", "navigate", "sec-fetch-dest", "document"],
        ...["sec-fetch-user", "?1", "upgrade-insecure-requests", "1", "priority", "u=0, i"],
        ...["accept-encoding", "gzip, deflate, br, zstd", "accept-language", this.#pick(languages)],
        ...["cookie", cookies.join("; "), ...forwarded],
      ],
    };
  }

  #path(): string {
    const id = this.#number(2_000_000);
    return this.#pick([
      `/api/v1/products/${this.#words(3).join("-")}-${id}`,
      `/api/v1/search?q=${this.#words(2).join("+")}&page=${1 + this.#number(9)}&sort=${this.#pick(["price", "date", "rank"])}`,
      `/api/v1/categories/${this.#pick(words)}?color=${this.#pick(words)}&size=${this.#number(48)}&offset=${24 * this.#number(40)}`,
      `/api/v1/account/orders/${id}?tab=${this.#pick(words)}`,
    ]);
  }

  #form(): string {
    const address = `${this.#words(2).join("+")}+${this.#number(200)}`;
    return `_csrf=${this.#token(32)}&product=${this.#number(2_000_000)}&quantity=${1 + this.#number(5)}&note=${this.#words(8).join("+")}&address=${address}`;
  }

  #json(): string {
    const items = Array.from({ length: 2 + this.#number(4) }, () => ({
      sku: this.#hex(10).toUpperCase(),
      name: this.#words(3).join(" "),
      quantity: 1 + this.#number(9),
      price: this.#number(99_999) / 100,
    }));
    const at = new Date(1_760_000_000_000 + this.#number(2 ** 31)).toISOString();
    return JSON.stringify({
      id: this.#uuid(),
      at,
      customer: this.#number(9_000_000),
      items,
      note: this.#words(10).join(" "),
    });
  }

  #words(count: number): string[] {
    return Array.from({ length: count }, () => this.#pick(words));
  }

  #uuid(): string {
    return [8, 4, 4, 4, 12].map((length) => this.#hex(length)).join("-");
  }

  #hex(length: number): string {
    return this.#text(length, "0123456789abcdef");
  }

  #token(length: number): string {
    return this.#text(length, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
  }

  #text(length: number, letters: string): string {
    let text = "";
    for (let i = 0; i < length; i++) text += letters[this.#number(letters.length)];
    return text;
  }

  #number(below: number): number {
    return Math.floor(this.#random() * below);
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#number(from.length)];
  }
}

const programs = [
  "okhttp/4.12.0",
  "python-requests/2.32.3",
  "Go-http-client/1.1",
  "axios/1.7.9",
  "ShopApp/8.14 CFNetwork",
];

const systems = [
  { name: "Windows", mobile: false, agent: "Windows NT 10.0; Win64; x64" },
  { name: "macOS", mobile: false, agent: "Macintosh; Intel Mac OS X 10_15_7" },
  { name: "Linux", mobile: false, agent: "X11; Linux x86_64" },
  { name: "Android", mobile: true, agent: "Linux; Android 10; K" },
] as const;

const languages = [
  "en-US,en;q=0.9",
  "de-DE,de;q=0.9,en;q=0.7",
  "fr-FR,fr;q=0.9,en-US;q=0.6",
  "es-ES,es;q=0.9",
  "nl,en;q=0.8",
];

const resources = ["orders", "customers", "inventory", "shipments", "payments", "returns", "prices"];

const words =
  `amber anchor autumn basket beacon birch bottle bridge candle canvas carbon castle cedar cherry circle copper cotton
  crystal desert diamond dragon eagle ember falcon feather forest garden garnet ginger glacier granite hammer harbor
  hazel indigo island ivory jacket jasmine kettle lantern lemon linen maple marble meadow mirror mosaic needle nickel
  ocean olive orchid paper pearl pepper pillow planet quartz rabbit ribbon river rocket saddle saffron silver spruce
  stone summer tablet temple thunder timber tulip umber valley velvet violet walnut willow winter yarrow zephyr`.split(
    /\s+/,
  );
