/**
 * Encryption of volumes as far as it is a matter of requests: what is asked for, and what is not
 * done.
 */
import { BLOCK_SIZE_BYTES, CodedError } from "../../base/index.ts";
import type { ObjectRecord, VolumeEncryption } from "../../cluster/index.ts";
import type { KeyKeeper } from "./key-keeper.ts";
import type { EncryptionRequest } from "./key-views.ts";

const DOMAIN_DEFAULT = "default";

/**
 * For a new volume. Fails as `KeyKeeper.ensureDomain`, `volume-size-invalid`, `request-invalid`.
 */
export async function encryptionOf(
  request: EncryptionRequest & { readonly sizeBytes: number },
  keeper: KeyKeeper,
): Promise<{ readonly encryption?: VolumeEncryption }> {
  const { encrypted, keyDomain, sizeBytes } = request;
  if (encrypted !== true) {
    if (keyDomain === undefined) return {};
    throw new CodedError({
      code: "request-invalid",
      message: "a key domain is for an encrypted volume",
      hint: "Add --encrypted",
    });
  }
  checkWholeBlocks(sizeBytes);
  return { encryption: await keeper.ensureDomain(keyDomain ?? DOMAIN_DEFAULT) };
}

/** Of an encrypted volume. */
export function checkWholeBlocks(sizeBytes: number): void {
  if (sizeBytes % BLOCK_SIZE_BYTES === 0) return;
  throw new CodedError({
    code: "volume-size-invalid",
    message: `an encrypted volume cannot have ${sizeBytes} bytes: it is a whole number of blocks`,
    hint: "give a multiple of 4096, for example 10G",
    details: { sizeBytes },
  });
}

/** Every block would have to be written anew, under a volume in use: there is no such thing. */
export function checkEncryptionKept(
  { name, encryption }: ObjectRecord,
  { encrypted }: EncryptionRequest,
): void {
  if (encrypted === undefined || encrypted === (encryption !== undefined)) return;
  const wanted = encrypted ? "encrypted" : "not encrypted";
  throw new CodedError({
    code: "encryption-fixed",
    message: `volume ${name} is ${encrypted ? "not encrypted" : "encrypted"}, and that never changes`,
    hint: `Create a volume that is ${wanted}, attach both, copy with nbdcopy or qemu-img convert, and delete ${name}`,
  });
}
