import { execFileSync } from "node:child_process";
import { haproxyProgram } from "./rig.ts";

/** A `mode` for the agents' back end. */
export interface HaproxyMode {
  readonly mode: "tcp" | "spop";
  /** Changes the example for the rig; undefined if the example is used unchanged. */
  readonly configure?: (text: string) => string;
}

/** The version of the HAProxy under test, such as 2.6. */
const haproxyVersion = Number(
  /version (\d+\.\d+)/.exec(execFileSync(haproxyProgram(), ["-v"], { encoding: "utf8" }))?.[1],
);

/** HAProxy 3.1 has a new engine: it knows `mode spop` and does not fragment messages. */
export const hasSpopMode = haproxyVersion >= 3.1;

/** The modes that this HAProxy supports. */
export const haproxyModes: readonly HaproxyMode[] = [
  { mode: "tcp" },
  ...(hasSpopMode ? [{ mode: "spop" as const, configure: toSpopMode }] : []),
];

function toSpopMode(text: string): string {
  return text.replace(/^( *)mode tcp$/m, "$1mode spop");
}
