import type { TestProject } from "vitest/node";
import { MotoServer } from "./moto-server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The address of moto. */
    motoUrl: string;
  }
}

/** Starts one moto for all test files; vitest calls what it returns at the end. */
export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const server = await MotoServer.start();
  provide("motoUrl", server.url);
  return () => server.stop();
}
