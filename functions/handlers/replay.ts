import { openReplay } from "../lambda/replay.ts";

export const handler = await openReplay(process.env);
