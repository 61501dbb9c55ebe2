/** Which states are good, and which are not. */
import type {
  AttachmentView,
  EventLevel,
  HealthWord,
  HostState,
  VmState,
} from "../../src/host/index.ts";
import type { Tone } from "./parts.tsx";

export const healthTones: Readonly<Record<HealthWord, Tone>> = {
  healthy: "good",
  degraded: "warn",
  failed: "bad",
};

export const hostTones: Readonly<Record<HostState, Tone>> = {
  up: "good",
  "storage-unreachable": "warn",
  "management-unreachable": "warn",
  down: "bad",
};

export const vmTones: Readonly<Record<VmState, Tone>> = {
  running: "good",
  starting: "busy",
  waiting: "warn",
  stopping: "busy",
  stopped: "quiet",
};

export const attachmentTones: Readonly<Record<AttachmentView["state"], Tone>> = {
  online: "good",
  holding: "warn",
  failed: "bad",
};

export const eventTones: Readonly<Record<EventLevel, Tone>> = {
  info: "quiet",
  warning: "warn",
  error: "bad",
};

export function componentTone(state: string): Tone {
  if (state === "active") return "good";
  if (state === "catching-up" || state === "building" || state === "joining") return "busy";
  return state === "absent" ? "bad" : "warn";
}
