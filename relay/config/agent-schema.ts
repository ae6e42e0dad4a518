import { z } from "zod";
import { address, addressRange, duration, headerName, percentage, section, size, stickyBy, when } from "./forms.ts";

const journal = section({
  directory: z.string().min(1).default("./journal").describe("Relative to this file"),
  maxBytes: size.prefault("1GiB").describe("What packs that wait for the queue may take on disk"),
  whenFull: z.enum(["drop-oldest", "drop-newest"]).default("drop-oldest"),
});

const listenerTls = section({
  cert: z.string().min(1).describe("PEM file with the agent's certificate and its chain, relative to this file"),
  key: z.string().min(1).describe("PEM file with its private key"),
  clientCa: z.string().min(1).describe("PEM file: only peers with a certificate of this authority get in").optional(),
});

const account = z.union([z.string().min(1), z.int().min(0)], { error: "must be a name or a number" });

const socketFile = section({
  mode: z
    .string({ error: 'must be octal digits in quotes, such as "0660"' })
    .regex(/^0?[0-7]{3}$/, { error: 'must be octal digits, such as "0660"' })
    .transform((digits) => Number.parseInt(digits, 8))
    .describe("Who may connect: permissions of the socket file")
    .optional(),
  owner: account.describe("User that the socket file belongs to").optional(),
  group: account.describe("Group that the socket file belongs to").optional(),
});

/** The journal of an agent whose queue is in SQS, where nothing else is said. */
export const defaultJournal = journal.parse({});

export const agentSchema = section({
  listen: address.prefault("127.0.0.1:12345").describe("Where HAProxy connects. SPOP has no authentication"),
  tls: listenerTls.describe("Connections must be TLS: `server … ssl` in HAProxy").optional(),
  allow: z
    .array(addressRange)
    .min(1)
    .describe("Only these peers may connect; all others are closed at once")
    .optional(),
  socket: socketFile.describe("The file of a unix socket").optional(),
  admin: address.prefault("127.0.0.1:12346").describe("/stats, /metrics and /healthz of the agent"),
  name: z
    .string()
    .regex(/^[\x21-\x7e]{1,64}$/, { error: "must be 1 to 64 printable characters" })
    .describe("Name of this agent in packs and figures; the host name by default")
    .optional(),
  workers: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe(
      "Processes that share the address, for hosts where one does not keep up; one takes 100,000 requests a second",
    ),
  sample: percentage.default(1).describe("Share of the requests that is packed at all"),
  stickyBy: stickyBy.optional(),
  when: when.describe("Only requests that match are packed").optional(),
  redact: section({ headers: z.array(headerName).default([]) })
    .default({ headers: [] })
    .describe("Headers whose value is replaced before anything is stored"),
  maxFrame: size
    .refine((bytes) => bytes >= 256 && bytes <= 48 * 1024 * 1024, {
      error: "must be from 256B, the least that HAProxy takes, to 48MiB, the most that a pack can hold",
    })
    .prefault("16MiB")
    .describe("Largest SPOP frame, and largest fragmented message"),
  pack: section({
    bytes: size.prefault("60KiB").describe("Compressed size to aim at; SQS bills each 64 KiB"),
    requests: z.int().min(1).max(10_000).default(1_000),
    // An hour is far below what a timer can hold, and far above what a pack should wait.
    linger: duration("0s", "1h").prefault("250ms").describe("How long a pack waits for more, 1h at most"),
  }).prefault({}),
  buffer: size.prefault("32MiB").describe("What may wait for the queue; beyond it the newest is dropped and counted"),
  journal: journal
    .describe(
      "Keeps packs on disk until the queue has them. By default for a queue in SQS; an embedded one is on disk itself",
    )
    .optional(),
  // An agent ends within ten seconds, and has to hand over what it has afterwards.
  drain: duration("0s", "8s").prefault("3s").describe("How long a stopping agent goes on acknowledging, 8s at most"),
}).superRefine(({ listen, allow, socket }, context) => {
  const mistake = (key: string, message: string) => context.addIssue({ code: "custom", path: [key], message });
  if (listen.kind === "unix" && allow) mistake("allow", "is for TCP; who may use a unix socket is for agent.socket");
  if (listen.kind === "tcp" && socket) mistake("socket", "is for a unix socket, and agent.listen is none");
});
