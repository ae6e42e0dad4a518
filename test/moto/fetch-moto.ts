import { existsSync } from "node:fs";
import { unpackPackages } from "../support/debian/unpacked-packages.ts";
import { moto, motoRoot, motoVersion } from "./moto-release.ts";

// Unpacks moto's server with Python and all libraries from Debian's packages, once. See test/matrix/fetch-haproxy.ts.

try {
  if (!existsSync(motoRoot)) {
    process.stderr.write(`Fetching moto ${motoVersion} from Debian ${moto.suite} …\n`);
    unpackPackages(moto);
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
