/** An authority and certificates of a test, made by openssl(1). */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runTool } from "./process.ts";

export interface Certificate {
  readonly certificatePath: string;
  readonly keyPath: string;
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** Why no certificates can be made here, if they cannot. */
export function opensslMissing(): string | undefined {
  try {
    execFileSync("openssl", ["version"], { stdio: "pipe" });
    return undefined;
  } catch {
    return "openssl is not installed";
  }
}

export class Authority {
  readonly #folder: string;
  readonly #own: Certificate;

  private constructor(folder: string, own: Certificate) {
    this.#folder = folder;
    this.#own = own;
  }

  static async make(folder: string, name = "authority"): Promise<Authority> {
    const paths = pathsOf(folder, name);
    await runTool("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...["-days", "2", "-subj", `/O=${name}`, "-addext", "basicConstraints=critical,CA:TRUE"],
      ...["-keyout", paths.keyPath, "-out", paths.certificatePath],
    ]);
    return new Authority(folder, read(paths));
  }

  get path(): string {
    return this.#own.certificatePath;
  }

  get pem(): string {
    return this.#own.certificatePem;
  }

  /** For 127.0.0.1, as a server and as a client. */
  async issue(name: string): Promise<Certificate> {
    const paths = pathsOf(this.#folder, name);
    const requestPath = join(this.#folder, `${name}.csr`);
    await runTool("openssl", [
      ...["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...["-subj", `/O=${name}`, "-keyout", paths.keyPath, "-out", requestPath],
    ]);
    const extensionsPath = join(this.#folder, `${name}.ext`);
    writeFileSync(
      extensionsPath,
      "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n",
    );
    await runTool("openssl", [
      ...["x509", "-req", "-in", requestPath, "-days", "2", "-extfile", extensionsPath],
      ...["-CA", this.#own.certificatePath, "-CAkey", this.#own.keyPath, "-CAcreateserial"],
      ...["-out", paths.certificatePath],
    ]);
    return read(paths);
  }
}

function pathsOf(folder: string, name: string): { certificatePath: string; keyPath: string } {
  return { certificatePath: join(folder, `${name}.crt`), keyPath: join(folder, `${name}.key`) };
}

function read(paths: { certificatePath: string; keyPath: string }): Certificate {
  return {
    ...paths,
    certificatePem: readFileSync(paths.certificatePath, "utf8"),
    keyPem: readFileSync(paths.keyPath, "utf8"),
  };
}
