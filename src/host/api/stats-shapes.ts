/** The shapes of counters, and of what a scrub finds. */
import type { ListShape, ObjectShape } from "./shape.ts";
import { choice, count, list, may, must, number, record, text } from "./shape-words.ts";
import type * as views from "./views.ts";

const trafficShape: ObjectShape<views.TrafficView> = {
  kind: "object",
  description: "Bytes moved to restore redundancy",
  fields: {
    bytesNeeded: must(count("Bytes that were missing")),
    bytesSent: must(count("Bytes that went over the network")),
    bytesSkipped: must(count("Bytes that the destination had already")),
    metadataBytes: may(count("Bytes of fingerprints that went over the network")),
  },
};

const bucketsShape: ListShape<number> = list(
  "How many took at most as long as the bound in latencyBoundsMs; the last one: longer",
  count("Of them"),
);

const ioCountShape: ObjectShape<views.IoCountView> = {
  kind: "object",
  description: "Requests of one kind since the volume was attached where it is",
  fields: {
    count: must(count("Answered")),
    bytes: must(count("Their bytes")),
    totalMs: must(number("Milliseconds from call to answer, added up")),
    faults: must(count("Answered with an error")),
    buckets: must(bucketsShape),
  },
};

export const volumeIoShape: ObjectShape<views.VolumeIoView> = {
  kind: "object",
  description: "What clients of an attached volume ask for",
  fields: { reads: must(ioCountShape), writes: must(ioCountShape) },
};

const volumeStatsShape: ObjectShape<views.VolumeStatsView> = {
  kind: "object",
  description: "A volume's share",
  fields: {
    name: must(text("The volume")),
    sizeBytes: must(count("Its size")),
    logicalBytes: may(count("Bytes that hold data, before deduplication")),
    io: may(volumeIoShape),
  },
};

const cacheStatsShape: ObjectShape<views.CacheStatsView> = {
  kind: "object",
  description: "A cache of a device",
  fields: {
    deviceId: must(text("The device")),
    kind: must(choice("Pages of the logical maps, or blocks of data", ["pages", "blocks"])),
    hitRatio: must(number("Hits for each look-up, 0 to 1")),
    hits: must(count("Look-ups that found what they wanted")),
    misses: must(count("Look-ups that did not")),
    promotions: must(count("Slots that went from the cold queue to the hot ring")),
    ghostHits: must(count("Keys that came back while they were remembered as evicted")),
    skippedSlots: must(count("Slots in use or held that searches for a victim stepped over")),
    evictions: must(count("Slots that were given to another key")),
  },
};

const networkLatencyShape: ObjectShape<views.NetworkLatencyView> = {
  kind: "object",
  description: "Pings of the host that answers to another one",
  fields: {
    host: must(text("The host at the other end")),
    network: must(choice("Over which network", ["storage", "management"])),
    buckets: must(bucketsShape),
    totalMs: must(number("Milliseconds there and back, added up")),
  },
};

export const statsShape: ObjectShape<views.StatsView> = {
  kind: "object",
  description: "Bytes and counters",
  fields: {
    logicalBytes: must(count("Bytes stored, before deduplication")),
    uniqueBytes: must(count("Bytes of distinct content")),
    physicalBytes: must(count("Bytes taken on devices")),
    capacityBytes: must(count("Size of all devices")),
    freeBytes: must(count("Bytes that new data can take")),
    reclaimableBytes: must(count("Bytes that the next reclaim gives back")),
    dedupRatio: must(number("logicalBytes / uniqueBytes")),
    cache: must(record("Counters of the caches of all devices")),
    caches: must(list("By device and cache", cacheStatsShape)),
    journal: must(record("Journal counters")),
    destage: must(record("Destage counters")),
    sharedMemory: must(record("Counters of memory shared with virtual machines")),
    farCache: must(record("Counters of blocks of other hosts that are kept in memory")),
    memory: must(record("Memory of the processes: planned, taken, and for what")),
    rebuild: must(trafficShape),
    catchUp: must(trafficShape),
    scrub: must(record("What was looked through for damage since the hosts started")),
    volumes: must(list("By volume", volumeStatsShape)),
    networks: may(list("Round trips to other hosts", networkLatencyShape)),
    latencyBoundsMs: must(list("Upper bounds of the buckets of latencies", number("Milliseconds"))),
  },
};

export const scrubShape: ObjectShape<views.ScrubView> = {
  kind: "object",
  description: "What a scrub found",
  fields: {
    deviceId: must(text("The device")),
    problemCount: must(count("Problems found; 0 is what you want")),
    report: must(record("Counters of the scrub")),
    problems: must(list("The first problems, one sentence each", text("A problem"))),
  },
};
