import { AIMED_FAULTS } from "./aimed-faults.ts";
import { DISK_FAULTS } from "./disk-faults.ts";
import type { FaultKind } from "./fault.ts";
import { HOST_FAULTS } from "./host-faults.ts";
import { LATE_FAULTS } from "./late-faults.ts";
import { OPERATOR_FAULTS } from "./operator-faults.ts";
import { NETWORK_FAULTS } from "./network-faults.ts";
import { UNHEARD_FAULTS } from "./unheard-faults.ts";

/** Everything that can go wrong in a trial. */
export const FAULT_KINDS: readonly FaultKind[] = [
  ...HOST_FAULTS,
  ...NETWORK_FAULTS,
  ...DISK_FAULTS,
  ...OPERATOR_FAULTS,
  ...LATE_FAULTS,
  ...UNHEARD_FAULTS,
  ...AIMED_FAULTS,
];
