// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { json, type How } from '../lib/transport';
import type { NodeId, NodeView } from './types';

/** What listNodes asks. */
export interface ListNodes {
  /** Only nodes with all of these labels, as `key=value,key=value`. */ "labels"?: string;
  /** Only nodes whose name, id or a label contains each of these words. */ "search"?: string;
}
/** What listNodes answers. */
export type ListNodesAnswer = {
  /** The rows. */ "items": (NodeView)[];
  /** Pass as `start` to get the next page; empty at the end. */ "next"?: string;
};
/** Nodes the caller may see, with the logins they may use. */
export function listNodes(ask: ListNodes = {}, how?: How): Promise<ListNodesAnswer> {
  return json<ListNodesAnswer>('GET', '/v1/nodes', ask, how);
}

/** What deleteNode asks. */
export interface DeleteNode {
  /** Which. */ "id": NodeId;
}
/** What deleteNode answers. */
export type DeleteNodeAnswer = Record<string, unknown>;
/** Forgets a node and frees its id: it must join again. */
export function deleteNode(ask: DeleteNode, how?: How): Promise<DeleteNodeAnswer> {
  return json<DeleteNodeAnswer>('DELETE', '/v1/nodes/{id}', ask, how);
}
