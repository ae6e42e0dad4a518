/** Where agents put packs. */
export const ingressQueue = "ingress";

/** Where the packs for one target wait. */
export function targetQueue(targetName: string): string {
  return `target-${targetName}`;
}
