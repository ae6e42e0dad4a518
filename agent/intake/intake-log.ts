import { type Logger, Throttle } from "../../relay/log/log.ts";
import type { LoopGuard } from "../../relay/rules/loop-mark.ts";
import type { CurrentWarnings } from "../current-warnings.ts";
import type { IntakeOptions } from "./intake.ts";
import { describeWholeFlaw } from "./whole-flaw.ts";

type IntakeLog = Pick<IntakeOptions, "onUnknownArgument" | "onUnknownWhole" | "onUnusable" | "onForeignMark">;

/** Logs what is unusual about messages and requests, each kind at most once a minute. */
export function createIntakeLog(log: Logger, warnings: CurrentWarnings, { header }: LoopGuard): IntakeLog {
  const unusableLog = new Throttle();
  const markLog = new Throttle();
  return {
    onUnknownArgument: (argument) =>
      log.warn(
        { event: "unknown-argument", argument },
        "spoe-message has an argument that the agent does not know: it is ignored",
      ),
    onUnknownWhole: (flaw, onResponse) => {
      const warning = describeWholeFlaw(flaw, onResponse);
      if (warnings.note(warning, performance.now())) log.warn({ event: "whole-unknown", flaw }, warning);
    },
    onUnusable: (reason) =>
      unusableLog.run(performance.now(), (heldBack) =>
        log.warn(
          { event: "unusable", reason, heldBack },
          "a message is not a request that can be mirrored; if all are like this, check the args of spoe-message",
        ),
      ),
    onForeignMark: () =>
      markLog.run(performance.now(), (heldBack) =>
        log.warn(
          { event: "foreign-mark", header, requests: heldBack + 1 },
          "requests have a mark of replays that loopKey did not sign: they are mirrored; if replays sent them, their loopKey differs",
        ),
      ),
  };
}

/** Says at start that the loop guard trusts every client, if there is no key. */
export function logUnsignedMarks(log: Logger, { header, keys }: LoopGuard): void {
  if (keys.length > 0) return;
  log.info(
    { event: "unsigned-marks", header },
    "there is no loopKey: requests with this header are not mirrored, so a client can hide from the mirror by sending it",
  );
}
