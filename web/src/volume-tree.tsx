/** How an object is spread: mirrors and stripes above, components with their state below. */
import type { ReactNode } from "react";
import type { TreeView, VolumeView } from "../../src/host/index.ts";
import { shortId } from "./format.ts";
import { Chip } from "./parts.tsx";
import { componentTone } from "./tones.ts";

export function VolumeTree({ volume }: { volume: VolumeView }): ReactNode {
  return (
    <ul className="tree">
      <Node node={volume.tree} volume={volume} />
    </ul>
  );
}

const words: Readonly<Record<TreeView["kind"], string>> = {
  component: "Component",
  mirror: "Mirror: each part below is a full copy",
  stripe: "Stripe: the parts below share one copy",
  witness: "Witness: votes, holds no data",
};

function Node({ node, volume }: { node: TreeView; volume: VolumeView }): ReactNode {
  const { kind, componentId, children = [] } = node;
  const part = volume.components.find((one) => one.componentId === componentId);
  return (
    <li>
      <span className={`node ${kind}`}>
        <span className="kind">{words[kind]}</span>
        {part !== undefined && (
          <>
            <span>
              on <strong>{part.host}</strong>, device {shortId(part.device)}
            </span>
            <Chip tone={componentTone(part.state)}>{part.state}</Chip>
            {part.sequence !== undefined && (
              <small>transaction {part.sequence.toLocaleString("en")}</small>
            )}
            {part.reason !== undefined && <small>{part.reason}</small>}
          </>
        )}
      </span>
      {children.length > 0 && (
        <ul>
          {children.map((child, index) => (
            <Node key={child.componentId ?? index} node={child} volume={volume} />
          ))}
        </ul>
      )}
    </li>
  );
}
