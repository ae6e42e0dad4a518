import { expect, it } from "vitest";
import { attack } from "../../attack/attacks/clock-jumps.ts";
import { Ground } from "../../attack/ground.ts";

it("an agent and a host lose nothing and hold nothing back when their clock is set", async () => {
  const ground = new Ground(process.cwd());
  try {
    expect(await attack.run(ground)).toMatchObject({ held: true, lost: 0 });
  } finally {
    await ground.end();
  }
});
