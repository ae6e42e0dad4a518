import { openFanOut } from "../lambda/fanout.ts";

export const handler = await openFanOut(process.env);
