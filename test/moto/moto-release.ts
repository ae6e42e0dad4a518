import { join } from "node:path";
import { cacheDirectory, type UnpackedPackages } from "../support/debian/unpacked-packages.ts";

/** moto, an emulator of AWS that this project did not write its code against, as Debian packages it. */
export const motoVersion = "5.1.1";

export const moto: UnpackedPackages = {
  suite: "trixie",
  // Its CloudFormation imports all services, so it also needs what they import.
  packages: [
    "python3-moto",
    "python3-flask",
    "python3-flask-cors",
    "python3-openapi-spec-validator",
    "python3-docker",
    "python3-graphql-core",
    "python3-joserfc",
    "python3-aws-xray-sdk",
    "python3-setuptools",
    "python3-pyparsing",
    "python3-jsonpath-ng",
  ],
  directory: cacheDirectory("moto", motoVersion),
};

export const motoRoot = join(moto.directory, "root");
