import type { TargetConfig } from "../../../relay/config/config.ts";
import { unsignedGuard } from "../../../relay/rules/loop-mark.ts";

/** A target that receives everything, without a rate. */
export function target(changes: Partial<TargetConfig> = {}): TargetConfig {
  return {
    name: "staging",
    url: new URL("http://127.0.0.1:9"),
    protocol: "http1",
    ratePerSecond: Number.POSITIVE_INFINITY,
    sample: { fraction: 1 },
    concurrency: 8,
    timeoutMs: 5_000,
    attempts: 3,
    host: "target",
    headers: { set: {}, remove: [] },
    truncated: "skip",
    loopGuard: unsignedGuard,
    tls: { verify: true },
    windows: [],
    blackouts: [],
    breaker: { failures: 1_000, probeAfterMs: 1_000 },
    ...changes,
  };
}
