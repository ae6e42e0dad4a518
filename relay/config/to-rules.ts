import type { RequestKey } from "../rules/request-key.ts";
import type { Sample, StickyBy } from "../rules/sample.ts";
import type { When } from "../rules/when.ts";
import type { ParsedConfig } from "./schema.ts";

export function toSample(fraction: number, stickyBy: ParsedConfig["agent"]["stickyBy"]): Sample {
  return stickyBy ? { fraction, stickyBy: toStickyBy(stickyBy) } : { fraction };
}

export function toRequestKey({ header, cookie }: NonNullable<ParsedConfig["targets"][string]["key"]>): RequestKey {
  if (header !== undefined) return { by: "header", name: header };
  return cookie !== undefined ? { by: "cookie", name: cookie } : { by: "src" };
}

export function toWhen(when: NonNullable<ParsedConfig["agent"]["when"]>): When {
  return {
    ...(when.method && { methods: when.method }),
    ...(when.path && { path: when.path }),
    ...(when.header && { headers: when.header }),
  };
}

function toStickyBy({ missing, ...key }: NonNullable<ParsedConfig["agent"]["stickyBy"]>): StickyBy {
  return { ...toRequestKey(key), missing };
}
