/** How many of some contents a device has: what a component that needs them is not sent there. */
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import { findContent } from "./content-adoption.ts";
import type { Device } from "./device.ts";

export function heldContents({ state }: Device, fingerprints: Uint8Array): number {
  let held = 0;
  for (let at = 0; at + FINGERPRINT_BYTES <= fingerprints.length; at += FINGERPRINT_BYTES)
    if (findContent(state, fingerprints, at) !== undefined) held++;
  return held;
}
