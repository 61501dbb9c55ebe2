/** Manual pages, made from the command tables and the shape of a host's configuration. */
import { commandEntries, globalOptions } from "../../src/cli/index.ts";
import { anyShape, hostConfigShape, version } from "../../src/host/index.ts";
import type { AnyField, Command, CommandOption } from "../../src/host/index.ts";

/** What roff would take for a request or an escape. */
function plain(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(/^(['.])/gm, "\\&$1");
}

function heading(title: string, section: number): string {
  return `.TH ${title.toUpperCase()} ${section} "" "Drystone ${version}" "Drystone"`;
}

function option({ name, argument, summary }: CommandOption): string {
  const value = argument === undefined ? "" : ` \\fI${plain(argument)}\\fR`;
  return `.TP\n\\fB\\-\\-${plain(name)}\\fR${value}\n${plain(summary)}.`;
}

function commandText(command: Command): string {
  const names = command.positionals.map((field) => ` \\fI${plain(field.toUpperCase())}\\fR`);
  const examples = command.examples.map(
    ({ line, why }) => `.PP\n.RS\n.nf\n${plain(line)}\n.fi\n${plain(why)}\n.RE`,
  );
  return [
    `.SS ${plain(command.words.join(" "))}`,
    `\\fBdrystone ${plain(command.words.join(" "))}\\fR${names.join("")}`,
    ".PP",
    `${plain(command.summary)}.`,
    ...command.options.map(option),
    ...examples,
  ].join("\n");
}

export function commandManual(): string {
  return `${[
    heading("drystone", 1),
    ".SH NAME",
    "drystone \\- an object store for the disks of virtual machines",
    ".SH SYNOPSIS",
    ".B drystone",
    "\\fICOMMAND\\fR [\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]",
    ".SH DESCRIPTION",
    "Drystone joins the disks of ordinary hosts into one store for the disks of virtual machines,",
    "and starts machines elsewhere when their host has failed.",
    "The first host of a cluster is made with \\fBdrystone init\\fR, the others with",
    "\\fBdrystone token create\\fR there and \\fBdrystone join\\fR on them.",
    "\\fBdrystone status\\fR says whether all is well and what to do if not.",
    ".SH OPTIONS OF EVERY COMMAND",
    ...globalOptions.map(option),
    ".SH COMMANDS",
    ...commandEntries.map(({ command }) => commandText(command)),
    ".SH EXIT STATUS",
    "0: done. 1: refused or failed, with the cause and the next step. 2: the command line cannot be",
    "understood.",
    ".SH ENVIRONMENT",
    ".TP\n.B DRYSTONE_API\nThe host to ask, as with \\-\\-api.",
    ".TP\n.B DRYSTONE_TLS\nThe folder of the certificate to show (/var/lib/drystone/tls).",
    ".TP\n.B DRYSTONE_TOKEN\nA token to show instead, from drystone access create.",
    ".TP\n.B DRYSTONE_CA\nThe certificate of the cluster's authority, for use with a token.",
    ".SH FILES",
    ".TP\n.I /var/lib/drystone/host.json\nThe configuration; see \\fBdrystone\\-host.json\\fR(5).",
    ".SH SEE ALSO",
    "\\fBdrystone\\-host.json\\fR(5), /usr/share/doc/drystone",
  ].join("\n")}\n`;
}

function field(name: string, { shape, optional }: AnyField): string {
  const nested =
    shape.kind === "object"
      ? Object.entries(shape.fields).map(([inner, value]) => field(`${name}.${inner}`, value))
      : [];
  const need = optional ? "" : " Required.";
  return [`.TP\n.B ${plain(name)}\n${plain(shape.description)}.${need}`, ...nested].join("\n");
}

export function configManual(): string {
  const { fields } = anyShape(hostConfigShape);
  return `${[
    heading("drystone-host.json", 5),
    ".SH NAME",
    "drystone\\-host.json \\- configuration of a Drystone host",
    ".SH DESCRIPTION",
    "A JSON object, written by \\fBdrystone init\\fR and \\fBdrystone join\\fR and read by",
    "\\fBdrystone host run\\fR. Unknown fields are refused.",
    ".SH FIELDS",
    ...Object.entries(fields).map(([name, value]) => field(name, value)),
    ".SH SEE ALSO",
    "\\fBdrystone\\fR(1)",
  ].join("\n")}\n`;
}
