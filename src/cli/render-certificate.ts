/** Certificates, and how far the replacement of the authority is, as people read it. */
import type { CertificateView, RotationView } from "../host/index.ts";

const STEPS: Readonly<Record<RotationView["step"], string>> = {
  trust: "1 of 3: all hosts believe both authorities",
  issue: "2 of 3: all hosts get certificates of the new one",
  drop: "3 of 3: all hosts stop believing the old one",
};

export function certificateLines(shown: CertificateView): string[] {
  return [
    `host       ${shown.host} (${shown.hostId})`,
    `good from  ${day(shown.startsMs)} to ${day(shown.endsMs)}, renewed by itself from ${day(shown.renewsMs)} on`,
    `for        ${shown.addresses.join(", ")}`,
    `serial     ${shown.serial}`,
    `authority  ${shown.authority.slice(0, 16)}, good to ${day(shown.authorityEndsMs)}`,
    ...(shown.rotation === undefined ? [] : rotationLines(shown.rotation)),
    ...shown.removed.map(
      ({ name, hostId, removedMs }) => `refused    ${name} (${hostId}), removed ${day(removedMs)}`,
    ),
  ];
}

function rotationLines({ step, isHeld, keyHost, fingerprint, waitsFor }: RotationView): string[] {
  const isWaiting = waitsFor.length > 0;
  const last = isHeld
    ? ["  give tls/ca.crt of a host to all clients, then: drystone certificate rotate-authority"]
    : [];
  return [
    `replaced   by ${fingerprint.slice(0, 16)}, whose key is on ${keyHost}; step ${STEPS[step]}`,
    ...waitsFor.map(({ host, reason }) => {
      return `waits for  ${host}${reason === undefined ? "" : `: ${reason}`}`;
    }),
    ...(isWaiting ? ["  a host that does not come back: drystone host remove HOST"] : last),
  ];
}

export function rotationText({ step, isHeld, waitsFor }: RotationView): string {
  const names = waitsFor.map(({ host }) => host).join(", ");
  const held = isHeld ? "; held: drystone certificate rotate-authority" : "";
  return `is replaced, step ${STEPS[step]}${names === "" ? held : `; waits for ${names}`}`;
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
