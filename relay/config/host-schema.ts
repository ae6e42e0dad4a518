import { z } from "zod";
import { address, duration, isLoopback, section, size } from "./forms.ts";

export const hostSchema = section({
  admin: address
    .prefault("127.0.0.1:12347")
    .describe("Address of the host's control API, /stats, /metrics, /healthz and /readyz"),
  token: z
    .string()
    .regex(/^[!-~]{16,}$/, { error: "must be at least 16 printable characters, without spaces" })
    .describe("Bearer token that callers of the control API must send, also for figures; or see tokenFile")
    .optional(),
  tokenFile: z
    .string()
    .min(1)
    .describe(
      "File with the token, relative to this file, by default control-token in the data directory; the host creates it with mode 600. On a loopback address, figures need no token",
    )
    .optional(),
  // Below 1 s, packs would be delivered again while they are replayed; SQS allows 12 hours at most.
  visibility: duration("1s", "12h")
    .prefault("30s")
    .describe(
      "Time after which a pack is delivered again if its process died, 1s to 12h; a running process extends it",
    ),
  inFlight: z.int().min(1).max(64).default(8).describe("Packs of each target that are replayed at once"),
  buffer: size("1MiB", "64GiB")
    .prefault("128MiB")
    .describe(
      "Memory for decoded packs in flight; beyond it each target has one at a time, and others wait, 1MiB to 64GiB",
    ),
  data: z
    .string()
    .min(1)
    .describe(
      "Directory for the targets' queues, dead letters and state if queue is in SQS and state is not in DynamoDB; relative to this file, by default ./data",
    )
    .optional(),
}).superRefine(({ admin, token, tokenFile }, context) => {
  const mistake = (key: string, message: string) => context.addIssue({ code: "custom", path: [key], message });
  if (token !== undefined && tokenFile !== undefined) mistake("tokenFile", "is in place of token: remove one of them");
  if (admin.kind === "unix") {
    if (tokenFile !== undefined) {
      mistake("tokenFile", "is for a TCP address; the permissions of a unix socket decide who may connect: remove it");
    }
  } else if (!isLoopback(admin.host) && token === undefined && tokenFile === undefined) {
    mistake(
      "admin",
      `${admin.host} can be reached from other machines: set host.token or host.tokenFile, or listen on 127.0.0.1`,
    );
  }
});
