import { seededRandom } from "../data/seeded-random.ts";

/** What the writer stores: the same in every run, so that its reader knows it. */
export interface Written {
  readonly index: number;
  readonly id: string;
  /** In an archive. */
  readonly name: string;
  readonly pack: Uint8Array;
  /** Whether it becomes a dead letter. */
  readonly dies: boolean;
}

const random = seededRandom(13);

export const written: readonly Written[] = Array.from({ length: 60 }, (_, index) => ({
  index,
  id: `pack-${index}`,
  name: `capture/${index % 7}/${index}`,
  pack: Uint8Array.from({ length: 20_000 + Math.floor(random() * 60_000) }, () => random() * 256),
  dies: index % 7 === 0,
}));
