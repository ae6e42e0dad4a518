import { openSchedule } from "../lambda/schedule.ts";

export const handler = await openSchedule(process.env);
