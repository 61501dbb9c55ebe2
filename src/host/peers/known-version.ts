/** Which version of a cluster this process knows, and which it tells in its host's record. */
import { CLUSTER_VERSION_FIRST, CLUSTER_VERSION_NEWEST } from "../../cluster/index.ts";
import type { HostRecord } from "../../cluster/index.ts";
import { version } from "../version.ts";

/** Has a test's host know no more than one of an older version. */
const SWITCH = "DRYSTONE_TEST_CLUSTER_VERSION";

export const versionKnown: number = known(process.env[SWITCH]);

export function toldVersions(): Pick<HostRecord, "clusterVersion" | "programVersion"> {
  // As hosts of the first version, which know nothing of others.
  if (versionKnown === CLUSTER_VERSION_FIRST) return {};
  return { clusterVersion: versionKnown, programVersion: version };
}

function known(wanted: string | undefined): number {
  const number = Number(wanted ?? CLUSTER_VERSION_NEWEST);
  const isOne = Number.isInteger(number) && number >= CLUSTER_VERSION_FIRST;
  if (isOne && number <= CLUSTER_VERSION_NEWEST) return number;
  throw new Error(`${SWITCH} is a version from 1 to ${CLUSTER_VERSION_NEWEST}`);
}
