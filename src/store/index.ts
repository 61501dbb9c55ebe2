export type {
  BlockRun,
  Component,
  ComponentDone,
  ComponentFault,
  ComponentOpening,
  Transaction,
  TransactionKind,
} from "./component.ts";
