import { execFileSync } from "node:child_process";
import { haproxyProgram } from "./rig.ts";

/** A way to write the back end of the agents. */
export interface HaproxyMode {
  readonly mode: "tcp" | "spop";
  /** For the rig: undefined where the example is used as it is. */
  readonly configure?: (text: string) => string;
}

/** Version of the HAProxy under test, such as 2.6. */
const haproxyVersion = Number(
  /version (\d+\.\d+)/.exec(execFileSync(haproxyProgram(), ["-v"], { encoding: "utf8" }))?.[1],
);

/** 3.1 brought another engine: `mode spop`, and messages in one piece only. */
export const hasSpopMode = haproxyVersion >= 3.1;

/** The modes that this HAProxy knows. */
export const haproxyModes: readonly HaproxyMode[] = [
  { mode: "tcp" },
  ...(hasSpopMode ? [{ mode: "spop" as const, configure: toSpopMode }] : []),
];

function toSpopMode(text: string): string {
  return text.replace(/^( *)mode tcp$/m, "$1mode spop");
}
