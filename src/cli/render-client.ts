/** Where a volume is, and the clients that may use it, as people read it. */
import { shellWord } from "../base/index.ts";
import type { AttachmentView, OperationName, ResponseOf } from "../host/index.ts";
import { table } from "./blocks.ts";
import type { Output } from "./output.ts";

type Renderers<N extends OperationName> = {
  readonly [Name in N]: (response: ResponseOf<Name>, output: Output) => string[];
};

export const clientRenderers: Renderers<"client.create" | "client.list" | "client.delete"> = {
  "client.create": ({ name, volumes, expiresMs, files }) => [
    `client ${name} may use ${volumesText(volumes)}, until ${timeText(expiresMs)}`,
    "  put this into a folder on the client that only its user reads; it is shown this once",
    ...files.flatMap((file) => ["", `--- ${file.name}`, file.content.trimEnd()]),
  ],
  "client.list": ({ clients }, output) =>
    clients.length === 0
      ? ["no clients", "  next: drystone client create NAME --volume VOLUME"]
      : table(
          output,
          ["NAME", "VOLUMES", "PROOF", "UNTIL"],
          clients.map(({ name, volumes, proof, expiresMs }) => [
            ...[name, volumesText(volumes), proof, timeText(expiresMs)],
          ]),
        ),
  "client.delete": () => ["refused from now on, on all hosts"],
};

export function attachmentLines(attachment: AttachmentView): string[] {
  const { volume, uri, tls, vhostUser } = attachment;
  return [
    `${volume} is at ${uri}`,
    ...(tls ? tlsLines(attachment) : [`  try: nbdinfo ${shellWord(uri)}`]),
    ...(vhostUser === undefined
      ? []
      : [
          `  for a virtual machine, at ${vhostUser.socket}:`,
          `  qemu-system-x86_64 ${vhostUser.qemu}`,
        ]),
  ];
}

/** DIR and NAME are the client's: `drystone client create` tells them. */
function tlsLines({ volume, uri, address }: AttachmentView): string[] {
  const keyUri = uri.replace("nbds://", "nbds://NAME@");
  const at = address.lastIndexOf(":");
  const host = address.slice(0, at).replace(/^\[|\]$/g, "");
  const port = address.slice(at + 1);
  const image = shellWord(`driver=nbd,host=${host},port=${port},export=${volume},tls-creds=tls0`);
  const listed = `qemu-nbd --list -b ${shellWord(host)} -p ${shellWord(port)} --tls-creds tls0`;
  const certified = shellWord(`${uri}?tls-certificates=DIR`);
  const keyed = shellWord(`${keyUri}?tls-psk-file=DIR/keys.psk`);
  const x509 = "--object tls-creds-x509,id=tls0,endpoint=client,dir=DIR";
  const psk = "--object tls-creds-psk,id=tls0,endpoint=client,username=NAME,dir=DIR";
  return [
    `  next: drystone client create NAME --volume ${shellWord(volume)}, and its files into DIR on the client`,
    "  with a certificate:",
    `    nbdinfo ${certified}`,
    `    nbdcopy ${certified} FILE`,
    `    qemu-img info ${x509} --image-opts ${image}`,
    `    ${listed} ${x509}`,
    "  with a shared key (--proof key):",
    `    nbdinfo ${keyed}`,
    `    nbdcopy ${keyed} FILE`,
    `    qemu-img info ${psk} --image-opts ${image}`,
    `    ${listed} ${psk}`,
  ];
}

function volumesText(volumes: readonly string[]): string {
  return volumes.includes("*") ? "all volumes" : volumes.join(", ");
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}
