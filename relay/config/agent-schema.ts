import { z } from "zod";
import { address, addressRange, duration, percentage, section, size, stickyBy, when } from "./forms.ts";
import { redactSchema } from "./redact-schema.ts";

const journal = section({
  directory: z.string().min(1).default("./journal").describe("Directory of the journal, relative to this file"),
  maxBytes: size("64KiB", "16384GiB")
    .prefault("1GiB")
    .describe("Largest size of the journal on disk; packs wait in it until the queue has them"),
  whenFull: z
    .enum(["drop-oldest", "drop-newest"])
    .default("drop-oldest")
    .describe("Which packs are dropped, and counted, once the journal has maxBytes"),
});

const listenerTls = section({
  cert: z.string().min(1).describe("PEM file with the agent's certificate and its chain, relative to this file"),
  key: z.string().min(1).describe("PEM file with the private key of the certificate, relative to this file"),
  clientCa: z
    .string()
    .min(1)
    .describe("PEM file with a certificate authority: only peers that show a certificate issued by it may connect")
    .optional(),
});

// The highest id is reserved: chown takes it for no change.
const account = z.union([z.string().min(1), z.int().min(0).max(4_294_967_294)], {
  error: "must be a name, or a number from 0 to 4294967294",
});

const socketFile = section({
  mode: z
    .string({ error: 'must be octal digits in quotes, such as "0660"' })
    .regex(/^0?[0-7]{3}$/, { error: 'must be octal digits, such as "0660"' })
    .transform((digits) => Number.parseInt(digits, 8))
    .describe("Permissions of the socket file, in octal: they decide which local users may connect")
    .optional(),
  owner: account.describe("User that owns the socket file: a name or a numeric id").optional(),
  group: account.describe("Group of the socket file: a name or a numeric id").optional(),
});

/** The journal of an agent that sends to SQS, if the configuration has no `agent.journal`. */
export const defaultJournal = journal.parse({});

export const agentSchema = section({
  listen: address
    .prefault("127.0.0.1:12345")
    .describe(
      "Address that HAProxy connects to: IP:PORT or unix:PATH. SPOP has no authentication: use allow or tls if other hosts can reach it",
    ),
  tls: listenerTls.describe("Accept only TLS connections; HAProxy's server line then needs `ssl`").optional(),
  allow: z
    .array(addressRange)
    .min(1)
    .describe(
      "IP addresses or CIDRs of the peers that may connect; by default all may. Other connections are closed at once",
    )
    .optional(),
  socket: socketFile.describe("Permissions and owner of the socket file, if listen is unix:PATH").optional(),
  admin: address.prefault("127.0.0.1:12346").describe("Address of the agent's /stats, /metrics, /healthz and /readyz"),
  name: z
    .string()
    .regex(/^[\x21-\x7e]{1,64}$/, { error: "must be 1 to 64 printable characters" })
    .describe("Name of this agent in packs, ledger and metrics; by default the host name")
    .optional(),
  workers: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe(
      "Processes that share the listen address, for hosts on which one cannot keep up; one handles 100,000 requests per second",
    ),
  sample: percentage
    .prefault("100%")
    .describe("Share of the requests that is mirrored, to all targets and captures together"),
  stickyBy: stickyBy.describe("Sample by a key: all requests with the same key are mirrored, or none").optional(),
  when: when.describe("Mirror only requests that match all conditions").optional(),
  redact: redactSchema
    .prefault({})
    .describe(
      "Secrets that are masked before the agent stores or sends a request. In names, * stands for any characters, and case does not matter",
    ),
  // From the smallest frame of HAProxy to the most that a pack can hold.
  maxFrame: size("256B", "48MiB")
    .prefault("16MiB")
    .describe("Largest SPOP frame, and largest message sent in several frames, that the agent accepts"),
  connectionBuffer: size("1MiB", "64GiB")
    .prefault("64MiB")
    .describe(
      "Memory for what all connections hold: half-received messages, and ACKs that peers do not read. When it is full, the connection that holds most is closed",
    ),
  pack: section({
    bytes: size("1KiB", "1MiB")
      .prefault("60KiB")
      .describe("Compressed size at which a pack is closed; SQS bills each 64 KiB"),
    requests: z.int().min(1).max(10_000).default(1_000).describe("Number of requests at which a pack is closed"),
    // One hour is far below the longest timer and far above any useful linger time.
    linger: duration("0s", "1h")
      .prefault("250ms")
      .describe("Age of its first request at which a pack is closed, at most 1h"),
  })
    .prefault({})
    .describe("When a pack of requests is closed and sent: at a size, a number of requests or an age"),
  buffer: size("1KiB", "64GiB")
    .prefault("32MiB")
    .describe("Memory for packs that wait to be sent; when it is full, new requests are dropped and counted"),
  journal: journal
    .describe(
      "Keeps packs on disk until the queue has them. On by default if the queue is in SQS; an embedded queue is on disk itself",
    )
    .optional(),
  // The agent exits 10 s after the signal, and sends its last packs after the drain.
  drain: duration("0s", "8s")
    .prefault("3s")
    .describe("How long a stopping agent still acknowledges requests, at most 8s"),
}).superRefine(({ listen, allow, socket }, context) => {
  const mistake = (key: string, message: string) => context.addIssue({ code: "custom", path: [key], message });
  if (listen.kind === "unix" && allow)
    mistake("allow", "is for TCP, and agent.listen is a unix socket: set its permissions in agent.socket");
  if (listen.kind === "tcp" && socket)
    mistake("socket", "is for a unix socket, and agent.listen is a TCP address: remove it, or write listen: unix:PATH");
});
