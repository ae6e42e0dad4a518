import { InvalidArgumentError } from "commander";

/** A port that leaves some above it, since commands take those that follow, too. */
export function parsePort(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port <= 65_500) return port;
  throw new InvalidArgumentError("It has to be a port from 1 to 65500.");
}
