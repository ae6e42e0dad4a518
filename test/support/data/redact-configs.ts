import type { RedactConfig } from "../../../relay/config/config.ts";

/** No rules. */
export const noRedaction: RedactConfig = { headers: [], cookies: [], query: [], form: [], json: [], dropBodies: [] };
