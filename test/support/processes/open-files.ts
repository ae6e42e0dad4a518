import { readdirSync, readFileSync } from "node:fs";

/** The number of open descriptors of a process. */
export function openFiles(pid: number | "self" = "self"): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** The resident memory of a process, in MiB. */
export function residentMiB(pid: number | "self" = "self"): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1]) / 1024;
}
