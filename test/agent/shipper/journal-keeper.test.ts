import { closeSync, openSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { JournalKeeper } from "../../../agent/shipper/journal-keeper.ts";
import type { FromWorker } from "../../../agent/shipper/messages.ts";
import { until } from "../../support/clocks/until.ts";
import { packMessage } from "../../support/data/packs.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

it("reports a disk that writes packs but does not sync them, until it syncs again", async () => {
  const directory = temporaryDirectory();
  const posted: FromWorker[] = [];
  const place = { directory, maxBytes: 1_000_000, whenFull: "drop-oldest" as const };
  const keeper = new JournalKeeper({ run: "a.1", place, post: (message) => posted.push(message) });
  const kinds = () => posted.map(({ kind }) => kind);
  const first = keeper.write(packMessage());
  const segment = join(directory, readdirSync(directory).find((name) => name.endsWith(".seg")) ?? "");
  const fd = Number(readdirSync("/proc/self/fd").find((name) => linkOf(name) === segment));
  closeSync(fd);
  await until(() => kinds().includes("journalDown"));
  const reopened = openSync(segment, "r+");
  const second = keeper.write(packMessage({ sequence: 1 }));
  await until(() => {
    keeper.write(packMessage({ sequence: 2 }));
    return kinds().includes("journalUp");
  });
  keeper.close();

  expect(reopened).toBe(fd);
  expect([first.ticket, second.ticket]).not.toContain(undefined);
  expect(kinds()).toEqual(["journalDown", "journalUp"]);
});

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return "";
  }
}
