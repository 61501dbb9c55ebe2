/** The directory as the API shows it. */
import type { ObjectShape } from "../api/shape.ts";
import { choice, list, may, must, text } from "../api/shape-words.ts";

export interface DirectoryMemberView {
  /** The host's name where it is known, else its id. */
  readonly host: string;
  readonly address: string;
  /**
   * "leaderless": it answers, and has lost the majority; "joining": it receives what the others
   * have, and has no vote yet.
   */
  readonly state: "well" | "leaderless" | "silent" | "joining";
}

export interface DirectoryView {
  /** Members of etcd that hosts of the cluster run. */
  readonly members: readonly DirectoryMemberView[];
  /** Why the host that answers runs none although one is wanted. */
  readonly trouble?: string;
}

const memberShape: ObjectShape<DirectoryMemberView> = {
  kind: "object",
  description: "A member of the directory",
  fields: {
    host: must(text("The host that runs it")),
    address: must(text("Where it is asked")),
    state: must(choice("How it is", ["well", "leaderless", "silent", "joining"])),
  },
};

export const directoryShape: ObjectShape<DirectoryView> = {
  kind: "object",
  description: "The directory, where hosts of the cluster run its members",
  fields: {
    members: must(list("Members of etcd that hosts of the cluster run", memberShape)),
    trouble: may(text("Why the host that answers runs none although one is wanted")),
  },
};
