import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** PEM files of one certificate. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
  /** Certificate and key in one file, as HAProxy needs them. */
  readonly both: string;
}

/** A certificate authority in a directory. Its certificates are valid for a day. */
export class CertificateAuthority {
  readonly #directory: string;
  readonly #name: string;
  readonly file: string;

  constructor(directory: string, name: string) {
    this.#directory = directory;
    this.#name = name;
    this.file = join(directory, `${name}.pem`);
    openssl(
      "req",
      "-x509",
      ...newKey,
      "-keyout",
      this.#path("key"),
      "-out",
      this.file,
      "-days",
      "1",
      "-subj",
      `/CN=${name}`,
    );
  }

  /** A certificate for 127.0.0.1 and the host names; with a negative `days` it has expired. */
  issue(name: string, days = 1, hosts: readonly string[] = []): CertificateFiles {
    const [cert, key, both] = ["crt", "key", "both"].map((kind) => join(this.#directory, `${name}.${kind}`));
    const request = join(this.#directory, `${name}.csr`);
    const extensions = join(this.#directory, `${name}.ext`);
    const subjects = ["IP:127.0.0.1", ...hosts.map((host) => `DNS:${host}`)];
    writeFileSync(extensions, `subjectAltName=${subjects.join()}\nbasicConstraints=CA:FALSE\n`);
    openssl("req", ...newKey, "-keyout", key, "-out", request, "-subj", `/CN=${name}`);
    const signer = ["-CA", this.file, "-CAkey", this.#path("key"), "-CAcreateserial", "-extfile", extensions];
    openssl("x509", "-req", "-in", request, ...signer, "-days", String(days), "-out", cert);
    writeFileSync(both, readFileSync(cert, "utf8") + readFileSync(key, "utf8"));
    return { cert, key, both };
  }

  #path(extension: string): string {
    return join(this.#directory, `${this.#name}.${extension}`);
  }
}

const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}
