import type { TargetConfig } from "../../relay/config/config.ts";
import type { Logger } from "../../relay/log/log.ts";
import type { Stores } from "../../relay/stores.ts";
import type { Access } from "./access.ts";

/** The dependencies of the control API's routes. */
export interface ControlDeps {
  readonly targets: readonly TargetConfig[];
  readonly stores: Pick<Stores, "ingress" | "targets" | "queueOf" | "removed" | "state">;
  readonly access: Access;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}
