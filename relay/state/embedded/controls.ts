import type { Controls, VersionedControl } from "../port.ts";
import { parseControl, type TargetControl } from "../target-control.ts";
import type { StateFile } from "./sql.ts";

/** Stores the control of each target in one row with a version. */
export class EmbeddedControls implements Controls {
  readonly #file: StateFile;

  constructor(file: StateFile) {
    this.#file = file;
  }

  async read(target: string): Promise<VersionedControl> {
    const row = this.#file.guard(() => this.#file.statements.control.get(target));
    if (!row) return { control: {}, version: 0 };
    return { ...parseControl(String(row.control)), version: Number(row.version) };
  }

  async write(target: string, control: TargetControl, version: number): Promise<boolean> {
    const { statements } = this.#file;
    const written = this.#file.transaction(() => {
      const seen = Number(statements.control.get(target)?.version ?? 0);
      if (seen !== version) return false;
      statements.keepControl.run(target, version + 1, JSON.stringify(control));
      return true;
    });
    await this.#file.sync();
    return written;
  }
}
