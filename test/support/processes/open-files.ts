import { readdirSync, readFileSync } from "node:fs";

/** How many descriptors a process has open. */
export function openFiles(pid: number | "self" = "self"): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** What a process takes of the machine's memory, in MiB. */
export function residentMiB(pid: number | "self" = "self"): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1]) / 1024;
}
