/** How far an upgrade is, as the API shows it. */
import type { ObjectShape } from "../api/shape.ts";
import { count, flag, list, may, must, text } from "../api/shape-words.ts";

export interface UpgradeView {
  /** Which formats and messages the cluster uses. */
  readonly clusterVersion: number;
  /** It is the newest one that the host that answers knows. */
  readonly isFinal: boolean;
  /** All hosts know a newer one. */
  readonly mayFinalize: boolean;
  readonly hosts: readonly UpgradeHostView[];
}

export interface UpgradeHostView {
  readonly host: string;
  /** The newest that it knows. */
  readonly clusterVersion: number;
  /** Of its program, if it has told. */
  readonly version?: string;
}

const hostShape: ObjectShape<UpgradeHostView> = {
  kind: "object",
  description: "A host, as it was when it started last",
  fields: {
    host: must(text("Its name")),
    clusterVersion: must(count("The newest version of a cluster that it knows")),
    version: may(text("The version of its program, if it has told")),
  },
};

export const upgradeShape: ObjectShape<UpgradeView> = {
  kind: "object",
  description: "How far an upgrade of the cluster is",
  fields: {
    clusterVersion: must(count("Which formats and messages the cluster uses")),
    isFinal: must(flag("It is the newest one that the host that answers knows")),
    mayFinalize: must(flag("All hosts know a newer one")),
    hosts: must(list("All hosts", hostShape)),
  },
};
