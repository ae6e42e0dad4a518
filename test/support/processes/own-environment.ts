import { afterAll, vi } from "vitest";

// For files that share a process: the next one sees the variables that this process started with.
afterAll(() => {
  vi.unstubAllEnvs();
});
