import type { DirectoryRecord, DirectoryStamp } from "../ports/index.ts";

/** What `Directory.stamp` says of a prefix that has these records. */
export function stampOf(records: readonly Pick<DirectoryRecord, "revision">[]): DirectoryStamp {
  const newestRevision = records.reduce((newest, { revision }) => Math.max(newest, revision), 0);
  return { count: records.length, newestRevision };
}
