/**
 * Keys under keys: AES-256-GCM with a nonce of chance. What a key is for is authenticated with it,
 * so that none can be put in another one's place.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";
import type { SealedKey } from "../../cluster/index.ts";

const ALGORITHM = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const ID_DIGITS = 16;

/** Tells keys apart, and nothing else about them. */
export function keyIdOf(key: Uint8Array): string {
  return createHmac("sha256", key)
    .update("drystone cluster key id")
    .digest("hex")
    .slice(0, ID_DIGITS);
}

export function sealKey(under: Uint8Array, purpose: string, key: Uint8Array): SealedKey {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, under, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(purpose));
  const sealed = Buffer.concat([cipher.update(key), cipher.final(), cipher.getAuthTag()]);
  return { keyId: keyIdOf(under), nonce: nonce.toString("hex"), sealed: sealed.toString("hex") };
}

/** Undefined if another key, or the same one for another purpose, has sealed it. */
export function openKey(
  under: Uint8Array,
  purpose: string,
  { nonce, sealed }: SealedKey,
): Uint8Array | undefined {
  const bytes = Buffer.from(sealed, "hex");
  const nonceBytes = Buffer.from(nonce, "hex");
  if (bytes.length <= TAG_BYTES || nonceBytes.length !== NONCE_BYTES) return undefined;
  const decipher = createDecipheriv(ALGORITHM, under, nonceBytes, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(purpose));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  const key = decipher.update(bytes.subarray(0, -TAG_BYTES));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return key;
}
