import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { EmbeddedState } from "../../../../relay/state/embedded/state.ts";
import { describeStoredNumbers, type RoundField } from "../../../contract/stored-numbers-contract.ts";
import { temporaryDirectory } from "../../../support/data/temporary-directory.ts";

const columns: readonly RoundField[] = [
  "number",
  "startUs",
  "endUs",
  "closeUs",
  "seats",
  "slotUs",
  "firstSlot",
  "firstUs",
  "entered",
];

describeStoredNumbers("EmbeddedState", async () => {
  const directory = temporaryDirectory();
  const state = EmbeddedState.open(directory);
  const file = new DatabaseSync(join(directory, "state.db"));
  return {
    state,
    async putControl(target, json) {
      file.prepare("INSERT OR REPLACE INTO control VALUES (?, 1, ?)").run(target, json);
    },
    async putRound(target, round) {
      const values = columns.map((name) => (name === "slotUs" ? Number(round[name]) : BigInt(round[name])));
      file.prepare(`INSERT INTO round VALUES (?${", ?".repeat(columns.length)})`).run(target, ...values);
    },
    async putJob(id, json) {
      file.prepare("INSERT INTO job VALUES (?, 1, NULL, ?)").run(id, json);
    },
    close() {
      file.close();
      state.close();
    },
  };
});
