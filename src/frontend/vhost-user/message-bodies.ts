/** Bodies of messages: fields out of them and into them, checked as far as one message tells. */
import { getU16, getU32, setU32 } from "../../base/index.ts";
import {
  VHOST_RING_NO_FD,
  VHOST_VERSION,
  VhostConfigLayout,
  VhostHeaderLayout,
  VhostInflightLayout,
  VhostMemoryRegionLayout,
  VhostRingStateLayout,
} from "../../format/index.ts";
import type { RemoteEvent, SharedFile } from "../../ports/index.ts";
import type { RegionDescription } from "./guest-memory.ts";
import type { VhostMessage } from "./message-reader.ts";
import type { InflightPlace } from "./vhost-disk.ts";
import { demand, wireU64 } from "./violation.ts";

export const NUMBER_BYTES = 8;
const CONFIG_BYTES_MAX = 256;
/** Some front ends leave the last four bytes out. */
const INFLIGHT_BYTES_MIN = 20;

export function messageOf(request: number, flags: number, body: Uint8Array): Uint8Array {
  const { at, sizeBytes } = VhostHeaderLayout;
  const message = new Uint8Array(sizeBytes + body.length);
  setU32(message, at.request, request);
  setU32(message, at.flags, VHOST_VERSION | flags);
  setU32(message, at.bodyBytes, body.length);
  message.set(body, sizeBytes);
  return message;
}

export function numberBytes(value: number): Uint8Array {
  const bytes = new Uint8Array(NUMBER_BYTES);
  setU32(bytes, 0, value);
  return bytes;
}

export function stateValue(body: Uint8Array): number {
  return getU32(body, VhostRingStateLayout.at.value);
}

export function regionOf(body: Uint8Array, from: number): RegionDescription {
  const { at } = VhostMemoryRegionLayout;
  return {
    guestAddress: wireU64(body, from + at.guestAddress),
    sizeBytes: wireU64(body, from + at.sizeBytes),
    userAddress: wireU64(body, from + at.userAddress),
    fileOffset: wireU64(body, from + at.fileOffset),
  };
}

export function inflightOf(body: Uint8Array): InflightPlace {
  const { at } = VhostInflightLayout;
  demand(body.length >= INFLIGHT_BYTES_MIN, `requests under way in ${body.length} bytes`);
  return {
    sizeBytes: wireU64(body, at.sizeBytes),
    fileOffset: wireU64(body, at.fileOffset),
    queueCount: getU16(body, at.queueCount),
    queueSize: getU16(body, at.queueSize),
  };
}

export function fileOf({ descriptors, request }: VhostMessage): SharedFile {
  const descriptor = descriptors.pop();
  demand(descriptor !== undefined, `request ${request} without its descriptor`);
  return descriptor.asFile();
}

export function eventOf({ body, descriptors }: VhostMessage): RemoteEvent | undefined {
  const hasNone = (getU32(body, 0) & VHOST_RING_NO_FD) !== 0;
  demand(hasNone === (descriptors.length === 0), "a ring's event without its descriptor");
  return descriptors.pop()?.asEvent();
}

export function configPart(body: Uint8Array): { offset: number; sizeBytes: number } {
  const headBytes = VhostConfigLayout.sizeBytes;
  demand(body.length > headBytes, "a configuration request without its head");
  const offset = getU32(body, VhostConfigLayout.at.offset);
  const sizeBytes = getU32(body, VhostConfigLayout.at.sizeBytes);
  demand(
    sizeBytes === body.length - headBytes && offset + sizeBytes <= CONFIG_BYTES_MAX,
    `a part of the configuration space of ${sizeBytes} bytes at ${offset}`,
  );
  return { offset, sizeBytes };
}
