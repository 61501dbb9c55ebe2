/** Checks of the directory's members, where hosts of the cluster run them. */
import { each } from "./health-check.ts";
import type { HealthCheck } from "./health-check.ts";

const MEMBERS = 3;

export const directoryChecks: readonly HealthCheck[] = [
  {
    id: "directory-member-away",
    severity: "degraded",
    meaning: "A member of the directory does not answer or has lost the majority",
    action: "start its host again; one that is gone for good: drystone host remove",
    find: ({ directory }) =>
      each(
        directory?.members ?? [],
        ({ state }) => state === "silent" || state === "leaderless",
        ({ host, address, state }) => ({
          subject: host,
          message: `the directory's member on ${host} (${address}) ${
            state === "silent" ? "does not answer" : "has lost the majority"
          }`,
        }),
      ),
  },
  {
    id: "directory-members-few",
    severity: "note",
    meaning: "The directory does not survive the loss of a member",
    action: "have three hosts or more, with etcd-server installed on three of them",
    find: ({ directory }) => {
      const count = directory?.members.filter(({ state }) => state !== "joining").length ?? MEMBERS;
      if (count >= MEMBERS) return [];
      const message = `the directory has ${count} of ${MEMBERS} members`;
      const trouble = directory?.trouble;
      return [
        {
          subject: "directory",
          message: trouble === undefined ? message : `${message}; on this host ${trouble}`,
        },
      ];
    },
  },
];
