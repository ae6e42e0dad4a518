import { openControl } from "../lambda/control.ts";

export const handler = await openControl(process.env);
