import { toRefusal } from "../relay/aws/refusal.ts";
import type { Config } from "../relay/config/config.ts";
import { StateError } from "../relay/state/port.ts";
import { type HostStats, readHostStats } from "../relay/stats/host-stats.ts";
import { hasMessages, warningsOf } from "../relay/stats/warnings.ts";
import { openStores } from "../relay/stores.ts";

/** True if CloudFormation deletes the queue of a target that is no longer in the configuration. By default the queue remains. */
export function deletesRemoved({ deployment }: Config): boolean {
  return !deployment.keepData;
}

/**
 * Throws if a deployment would delete requests: those that wait for a target that is no longer in the configuration, and its
 * dead letters. Also throws if the state cannot be read.
 */
export async function assertNothingLeft(config: Config): Promise<void> {
  const stats = await readDeployed(config);
  const left = (stats ? warningsOf(stats) : []).filter(hasMessages);
  if (left.length === 0) return;
  throw new Error(
    [
      "nothing has been deployed: with aws.keepData: false, it would delete the queues of removed targets with their requests",
      ...left.map(({ detail }) => detail),
      "or leave out keepData to keep the queues, or add --delete-requests",
    ].join("\n"),
  );
}

/** The stats of the running deployment; undefined before the first. */
async function readDeployed(config: Config): Promise<HostStats | undefined> {
  const stores = await openStores(config);
  try {
    return await readHostStats(stores, config.targets);
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    if (/ResourceNotFound/.test(toRefusal(error.cause).code)) return undefined;
    const unknown = "nothing has been deployed: with aws.keepData: false, it might delete requests of removed targets";
    throw new Error(`${unknown}, which cannot be read: ${error.message}\nsolve this, or add --delete-requests`, {
      cause: error,
    });
  } finally {
    await stores.close();
  }
}
