/**
 * Every error code that the API and the command line may answer, with the HTTP status it travels
 * under and what it means. docs/operating/errors.md is generated from here; a code that is missing
 * here answers 500.
 */
import { row } from "./error-code.ts";
import type { ErrorCode } from "./error-code.ts";
import { securityErrorCodes } from "./security-error-codes.ts";

export const errorCodes: Readonly<Record<string, ErrorCode>> = {
  // Requests
  "request-invalid": row(
    400,
    "A field is missing, unknown or out of range",
    "The message names each field",
  ),
  "request-too-large": row(413, "The body of a request exceeds 64 KiB", "Send less"),
  "path-unknown": row(404, "The API has nothing at this path", "The hint names the nearest path"),
  "method-unknown": row(405, "The path exists, with another method", "The hint names the methods"),
  "origin-refused": row(
    403,
    "A web page of another origin asks",
    "Use the address of the host itself",
  ),
  usage: row(400, "A command line that cannot be understood (exit code 2)", "Run it with --help"),
  // Names
  "volume-has-snapshots": row(
    409,
    "The volume has snapshots, which would be left without it",
    "Delete them first: the hint names one",
  ),
  "stream-invalid": row(
    400,
    "A stream to import is cut, damaged, or none of Drystone's",
    "Export it again; nothing was kept of it",
  ),
  "import-base-missing": row(
    409,
    "A stream has changes only, and nothing says what they are changes of",
    "Name a snapshot that holds the rest with --base",
  ),
  "import-base-differs": row(
    409,
    "The base of an import does not hold what the base of the export held",
    "Import the base first, and take a snapshot of it",
  ),
  "volume-unreachable": row(
    503,
    "The command line cannot reach a volume over NBD",
    "Run it on the host that offers the volume",
  ),
  "volume-io-failed": row(
    500,
    "A volume that is exported or imported answered a read or a write with an error",
    "`drystone health list` tells what is wrong with its copies",
  ),
  "snapshot-unrelated": row(
    409,
    "Two snapshots are not of one line: another volume, the wrong order, or rolled back between",
    "Export the newer one whole, without --since",
  ),
  "not-settled": row(
    409,
    "Writes that a snapshot has to hold are not where it can share them, or a copy lacks some",
    "Try again; `drystone volume show` tells whether a copy is catching up",
  ),
  "volume-exists": row(
    409,
    "The name is taken",
    "Choose another name, or use the volume that exists",
  ),
  "volume-name-invalid": row(400, "A volume cannot have this name", "The hint has the rule"),
  "volume-size-invalid": row(400, "A volume cannot have this size", "The hint has the limits"),
  "volume-in-use": row(409, "A host owns the volume", "drystone volume detach NAME"),
  "volume-not-found": row(404, "No volume has this name", "drystone volume list"),
  "volume-attached": row(409, "The volume is attached", "drystone volume detach NAME"),
  "volume-not-attached": row(
    409,
    "The volume is not attached",
    "drystone volume list shows what is",
  ),
  "file-unreadable": row(500, "A file cannot be read", "Give another path"),
  "file-unwritable": row(500, "A file cannot be written", "Give another path"),
  "check-unknown": row(404, "No check of health has this name", "drystone health list"),
  "host-unknown": row(404, "No host has this name", "drystone host list"),
  "host-unreachable": row(
    503,
    "A host cannot be reached over the storage network",
    "drystone host list shows which hosts are up; check cables and firewalls between them",
  ),
  "evacuation-impossible": row(
    409,
    "Something on the host or device has no other place to go to",
    "The message says what; add a host or a device, or choose another mode",
  ),
  "evacuation-too-large": row(
    409,
    "What would leave does not fit where it would go",
    "Add a device, or free space",
  ),
  "vm-not-found": row(404, "No virtual machine has this name", "drystone vm list"),
  "vm-name-invalid": row(
    400,
    "The name breaks the rule for names of virtual machines",
    "Choose another",
  ),
  "vm-invalid": row(400, "The virtual machine cannot be like that", "The message says why"),
  "vm-exists": row(409, "A virtual machine has this name already", "Choose another name"),
  "volume-of-vm": row(
    409,
    "Another virtual machine has the volume as its disk",
    "Give the machine a volume of its own: drystone vm list shows whose it is",
  ),
  "vm-running": row(409, "The virtual machine is not stopped", "drystone vm stop NAME"),
  "claim-failed": row(
    500,
    "What `drystone dev --tour` wanted to show did not happen",
    "Look into host.log of each host, and drystone vm show guest",
  ),
  "admission-refused": row(
    409,
    "The machine would take the room that is kept for the failure of hosts",
    "Stop others, add a host, or drystone ha set --admission warn",
  ),
  "ha-contended": row(409, "Others change the settings of high availability", "Try again"),
  "ha-hosts-unheard": row(
    409,
    "A host that has machines cannot be heard; they would be started a second time",
    "Bring it back, or make sure that it is off and kill its machines",
  ),
  "vm-runs-not": row(409, "The virtual machine does not run", "drystone vm start NAME"),
  "vm-migration-refused": row(
    409,
    "The virtual machine cannot move there",
    "The message says why; name another host",
  ),
  "vm-migration-failed": row(
    500,
    "A virtual machine stays where it is",
    "drystone vm show NAME has the reason",
  ),
  "vm-contended": row(409, "Others change the same virtual machine", "Try again"),
  "vm-not-started": row(
    500,
    "QEMU does not start the virtual machine",
    "The message has the end of its log",
  ),
  "vm-unreachable": row(503, "QEMU's control socket does not answer", "Is its process alive?"),
  "vm-refused": row(500, "QEMU refuses a command", "The message has its words"),
  "device-unknown": row(404, "No device has this id", "drystone device list"),
  // Volumes
  "device-known": row(
    409,
    "The device to add is one that this host has had before",
    "Name it in the host's configuration and start the host again",
  ),
  "snapshot-policy-fixed": row(
    409,
    "A snapshot has the policy that its volume had",
    "Change the policy of the volume, or of a clone of the snapshot",
  ),
  "policy-unsatisfiable": row(
    409,
    "Too few hosts or devices for the policy",
    "Ask for less, or add hosts",
  ),
  "policy-no-room": row(
    409,
    "No devices have room for the copies that the policy needs more of",
    "The message says how much is needed; delete or discard data, or add a device",
  ),
  "volume-shrink-unsupported": row(
    409,
    "The new size is smaller",
    "Create a smaller volume and copy what is needed",
  ),
  "object-inaccessible": row(
    503,
    "The volume cannot be served here now",
    "The message says what is missing",
  ),
  fenced: row(
    503,
    "Another owner with a higher epoch has taken over",
    "Use the volume through its owner",
  ),
  "not-owner": row(503, "Another host owns the volume", "drystone volume show NAME"),
  "object-contended": row(409, "Somebody changes the same volume's record", "Try again"),
  // The directory
  "directory-unavailable": row(
    503,
    "The cluster's directory does not answer; nothing was changed",
    "The message names its endpoints and what each said",
  ),
  "directory-outcome-unknown": row(
    503,
    "The directory did not say whether a change happened",
    "Look at what the change was for, then try again",
  ),
  "directory-refused": row(
    502,
    "etcd refuses the host's requests",
    "Check user, password and role in etcd",
  ),
  "authority-away": row(
    503,
    "No host with the key of the cluster's authority could be asked for a certificate",
    "Start a host that has tls/ca.key, or copy that file to one that runs",
  ),
  "directory-members-away": row(
    503,
    "This host's member of the directory is to be started again, and the others do not answer well",
    "Look at the members in drystone status; it goes on by itself once they are well",
  ),
  "upgrade-not-finalized": row(
    409,
    "What is asked for came with a newer version of Drystone than the cluster's formats have",
    "When all hosts run the new version: drystone upgrade finalize",
  ),
  "hosts-outdated": row(
    409,
    "An upgrade is not at its end: hosts know no newer version than the cluster has",
    "Upgrade and start the hosts that are named, or take them out with drystone host remove",
  ),
  "rotation-contended": row(
    409,
    "The replacement of the cluster's authority was begun or moved on elsewhere at the same moment",
    "Look at it with drystone certificate show, and ask again",
  ),
  "host-up": row(
    409,
    "A host that runs is not removed from the cluster",
    "Evacuate it, stop it, and wait until its lease has ended",
  ),
  "host-in-use": row(
    409,
    "Parts of volumes are on the host, or would be missed",
    "Wait until they are made anew elsewhere: drystone resync list",
  ),
  "directory-member-lost": row(
    500,
    "The data of the directory's member on this host is gone, and no other member is known",
    "Name other hosts of the cluster in cluster.directory of the configuration",
  ),
  "start-stopped": row(
    503,
    "The host was told to stop while it waited for the directory",
    "Start it again when a majority of the directory's hosts runs",
  ),
  "etcd-missing": row(
    500,
    "The program etcd cannot be started on this host",
    "Install the package etcd-server",
  ),
  "etcd-unhealthy": row(
    503,
    "The etcd that this host runs does not serve",
    "The message has what etcd said last",
  ),
  // Addresses
  "address-in-use": row(
    409,
    "Another process or volume listens there",
    "Choose another address or stop the other",
  ),
  "address-invalid": row(
    400,
    "Not an address, or not one of this machine",
    "Use PATH or ADDRESS:PORT",
  ),
  "permission-denied": row(403, "The operating system refuses", "Check owner and mode of the path"),
  "connection-refused": row(
    503,
    "Nobody listens at the API's address",
    "drystone dev, or systemctl start drystoned",
  ),
  "connection-timeout": row(
    503,
    "A host or a service on the network says nothing",
    "Check that its machine runs, and the firewalls on the way",
  ),
  "connection-failed": row(
    503,
    "There is no way to the host, or it stopped in the middle",
    "Check --api and DRYSTONE_API, then routes, cables and firewalls",
  ),
  ...securityErrorCodes,
  "content-type-unknown": row(
    415,
    "The body of a request is said to be something else than JSON",
    "Send it with content-type: application/json",
  ),
  "cluster-not-proven": row(
    502,
    "Who listens there is not of the cluster that made the token",
    "Check the address, and where the token was made",
  ),
  "token-invalid": row(400, "Not a token, or not all of one", "Copy the whole token"),
  "token-unknown": row(
    403,
    "The cluster has not made this token",
    "drystone token create makes another one",
  ),
  "token-used": row(403, "A host has joined with this token", "drystone token create"),
  "token-expired": row(403, "The token is too old", "drystone token create makes another one"),
  "too-many-tokens": row(409, "Too many tokens were made within a day", "Use one of them"),
  "authority-elsewhere": row(
    409,
    "The host does not have the key of the cluster's authority",
    "Ask the host where drystone init ran",
  ),
  "host-exists": row(409, "The cluster has a host of this name", "Choose another one with --name"),
  "folder-in-use": row(409, "A host was set up in this folder already", "Use another --dir"),
  "host-runs": row(409, "The development host runs already", "drystone dev kill NAME ends it"),
  "host-runs-not": row(409, "The development host does not run", "drystone dev start NAME"),
  "cluster-runs-not": row(
    503,
    "No development cluster runs in the folder",
    "drystone dev --hosts 3, or give its folder with --dir",
  ),
  "dev-directory-differs": row(
    409,
    "The development cluster in the folder was made with another kind of directory",
    "Start it with --directory as it was made, or elsewhere with --dir",
  ),
  "host-ended": row(
    500,
    "A host of the development cluster ended while it started",
    "The last lines of host.log in its folder say why",
  ),
  "host-slow": row(
    500,
    "A host of the development cluster was not ready in time",
    "The last lines of host.log in its folder say what it waits for",
  ),
  "hosts-apart": row(
    500,
    "The hosts of a new development cluster do not reach each other",
    "Look into host.log of each host; something may filter the loopback interface",
  ),
  "nbd-refused": row(
    502,
    "A relay found no volume where it should be served",
    "drystone volume list shows where it is attached",
  ),
  "no-host": row(503, "No host of the development cluster serves the volume", "drystone dev start"),
  // Devices
  "no-device": row(409, "The host has no device that is online", "drystone device list"),
  "no-space": row(507, "The device is full", "Delete or discard data, or add a device"),
  "device-missing": row(
    404,
    "The device's path does not exist",
    "Check the path in the configuration",
  ),
  "device-shrunk": row(
    500,
    "The device, or its journal, is smaller than when it was formatted",
    "Give it back the size that it had",
  ),
  "device-too-small": row(
    400,
    "The device cannot hold a journal and data",
    "Give it at least 256 MiB",
  ),
  "device-read-only": row(
    403,
    "The device cannot be written",
    "Mount it read-write, check its permissions",
  ),
  "device-ends-host": row(
    500,
    "The host's process ended again and again while it opened the device",
    "Look into the host's log and dmesg, then start it again",
  ),
  "device-foreign": row(
    409,
    "The device holds data that is not ours",
    "--wipe DEVICE takes it; the data is lost",
  ),
  "device-other-cluster": row(
    409,
    "The device belongs to another cluster",
    "--wipe DEVICE takes it; the data is lost",
  ),
  "device-other-host": row(
    409,
    "The device belongs to another host of the cluster",
    "Put it back into that host; --wipe DEVICE takes it, the data is lost",
  ),
  "device-contended": row(
    409,
    "Another process has told the cluster of the same device",
    "Keep one copy of the device, and start its host again",
  ),
  "device-in-use": row(409, "Another process uses the device", "Stop the other process"),
  "device-failed": row(
    503,
    "The device could not be opened at start",
    "drystone device list says why",
  ),
  "device-incomplete": row(
    500,
    "The device's data is there without its metadata, or the reverse",
    "Restore both from the same moment",
  ),
  "superblock-damaged": row(
    500,
    "Both copies of the device's superblock are damaged",
    "Check the disk; restore from a mirror",
  ),
  "journal-damaged": row(
    500,
    "A record in the middle of the journal is damaged",
    "Check the disk; restore from a mirror",
  ),
  "metadata-damaged": row(
    500,
    "The device's metadata cannot be read",
    "Check the disk; restore from a mirror",
  ),
  "format-unknown": row(500, "Written by a newer version", "Install that version"),
  "read-error": row(500, "The disk could not read", "Check the disk: dmesg, smartctl"),
  "write-error": row(500, "The disk could not write", "Check the disk: dmesg, smartctl"),
  "device-invalid": row(400, "Neither a directory nor a block device", "Give one of these"),
  "device-empty": row(409, "The device is not formatted", "Start the host with it"),
  "metadata-failed": row(500, "The metadata could not be read or written", "Check the disk: dmesg"),
  "metadata-missing": row(500, "The device's metadata is gone", "Restore data and metadata"),
  "metadata-foreign": row(500, "The metadata was not written by us", "Restore data and metadata"),
  "metadata-other-device": row(
    500,
    "Data and metadata are of two devices",
    "Put them together again",
  ),
  "component-limit": row(
    507,
    "A device has made as many components as it can number",
    "Move its volumes to another device and format it anew",
  ),
  "component-too-small": row(500, "A component does not hold its volume", "drystone device scrub"),
  "io-uring-unavailable": row(
    500,
    "DRYSTONE_DISK asks for io_uring, which is forbidden",
    "Unset it",
  ),
  "disk-kind-unknown": row(500, "DRYSTONE_DISK is not io_uring or node-fs", "Unset it"),
  // The host process
  "config-missing": row(400, "The configuration file cannot be read", "Check the path"),
  "config-invalid": row(
    400,
    "The configuration has problems; the message names each",
    "Correct the file",
  ),
  "state-other-cluster": row(
    500,
    "The state directory belongs to another cluster than the configuration says",
    "Correct the id under cluster in the configuration, or use another stateDir",
  ),
  "creation-undone": row(
    409,
    "A host restarted while the volume was being created, or it was given up; nothing was made",
    "Create it again",
  ),
  "state-in-use": row(
    409,
    "Another host process runs on this state directory",
    "Stop it, or use another stateDir",
  ),
  "record-invalid": row(
    500,
    "A record of the directory is damaged",
    "Restore the state directory from a backup",
  ),
  "record-format-unknown": row(
    500,
    "A record of the directory was written by a newer version",
    "Install that version",
  ),
  "state-damaged": row(500, "A file of the state directory is damaged", "Restore it from a backup"),
  "state-unwritable": row(
    403,
    "The state directory cannot be written",
    "Check owner, mode and free space",
  ),
  "not-supported": row(501, "This version cannot do it yet", "The hint names what can be done"),
  "data-worker-died": row(
    500,
    "The thread that serves I/O has ended",
    "Start the host again; report the bug",
  ),
  stopping: row(503, "The host is stopping", "Try again when it runs"),
  "too-many-requests": row(503, "Too many connections follow events", "Close some"),
  bug: row(500, "A bug in Drystone", "Report it with the host's log"),
};

export function httpStatusOf(code: string): number {
  return errorCodes[code]?.status ?? 500;
}
