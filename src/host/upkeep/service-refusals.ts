/** Why a host or a device cannot be taken out of service as it was asked for. */
import { CodedError, formatSize } from "../../base/index.ts";
import { spareBytes } from "../../plane/index.ts";
import type { ServicePlanView } from "./repair-views.ts";
import type { DeviceView } from "../api/views.ts";

type Leaving = Pick<ServicePlanView, "components" | "mode">;
type Room = Pick<DeviceView, "deviceId" | "path" | "host" | "freeBytes" | "capacityBytes">;

/** `evacuation-impossible`, `evacuation-too-large`, or undefined: it may be done. */
export function refusalOf(plan: Leaving, devices: readonly Room[]): CodedError | undefined {
  return stuckRefusal(plan) ?? tooLargeRefusal(plan, devices);
}

export function inOneLine({ fault: { message, hint } }: CodedError): string {
  return hint === undefined ? message : `${message}; ${hint}`;
}

function stuckRefusal({ components, mode }: Leaving): CodedError | undefined {
  const stuck = components.filter(({ what }) => what === "stuck");
  if (stuck.length === 0) return undefined;
  const names = [...new Set(stuck.map(({ volume }) => volume))].join(", ");
  return new CodedError({
    code: "evacuation-impossible",
    message: `${stuck.length} components have no other place to go to, of ${names}`,
    hint:
      mode === "evacuate"
        ? "add a host, or use --mode ensure-accessibility: then redundancy suffers while it is away"
        : "add a host or a device, or use --mode none: then these volumes cannot be used meanwhile",
  });
}

/** What is there already takes no room; but nobody knows that beforehand. */
function tooLargeRefusal(
  { components }: Leaving,
  devices: readonly Room[],
): CodedError | undefined {
  const wanted = new Map<string, number>();
  for (const { device, bytes, what } of components)
    if (device !== undefined && what === "moves")
      wanted.set(device, (wanted.get(device) ?? 0) + bytes);
  for (const [deviceId, bytes] of wanted) {
    const device = devices.find((one) => one.deviceId === deviceId);
    if (device === undefined) continue;
    const { freeBytes, capacityBytes: sizeBytes } = device;
    const spare = Math.max(0, Math.floor(spareBytes({ freeBytes, sizeBytes })));
    if (bytes <= spare) continue;
    return new CodedError({
      code: "evacuation-too-large",
      message:
        `${formatSize(bytes)} would go to ${device.path} on ${device.host}, ` +
        `which has room for ${formatSize(spare)} beside what has to stay free`,
      hint: "add a device, or delete or discard data",
      details: { deviceId, wantedBytes: bytes, freeBytes },
    });
  }
  return undefined;
}
