import { once } from "node:events";
import { takeTokenFile } from "../../../relay/control/token-file.ts";

// Writes `ready`, waits for a line, then takes the token of the file that it is called with, and prints it.

process.stdout.write("ready\n");
await once(process.stdin, "data");
process.stdout.write(`${takeTokenFile(process.argv[2])}\n`);
process.exit();
