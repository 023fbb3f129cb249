// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { json, type How } from '../lib/transport';
import type { Metadata, Role, RoleKind, RoleName, RoleSpec } from './types';

/** What listRoles asks. */
export interface ListRoles {}
/** What listRoles answers. */
export type ListRolesAnswer = {
  /** The rows. */ "items": (Role)[];
  /** Pass as `start` to get the next page; empty at the end. */ "next"?: string;
};
/** Every role. */
export function listRoles(ask: ListRoles = {}, how?: How): Promise<ListRolesAnswer> {
  return json<ListRolesAnswer>('GET', '/v1/roles', ask, how);
}

/** What deleteRole asks. */
export interface DeleteRole {
  /** Which. */ "name": RoleName;
}
/** What deleteRole answers. */
export type DeleteRoleAnswer = Record<string, unknown>;
/** Removes a role nobody holds. */
export function deleteRole(ask: DeleteRole, how?: How): Promise<DeleteRoleAnswer> {
  return json<DeleteRoleAnswer>('DELETE', '/v1/roles/{name}', ask, how);
}

/** What getRole asks. */
export interface GetRole {
  /** Which. */ "name": RoleName;
}
/** What getRole answers. */
export type GetRoleAnswer = {
  /** Always `role`. */ "kind": RoleKind;
  /** Name, description, labels. */ "metadata": Metadata;
  /** The rules. */ "spec": RoleSpec;
  /** `v3` to `v8`; what later versions add is accepted where it is understood. */ "version": string;
};
/** One role. */
export function getRole(ask: GetRole, how?: How): Promise<GetRoleAnswer> {
  return json<GetRoleAnswer>('GET', '/v1/roles/{name}', ask, how);
}

/** What putRole asks. */
export interface PutRole {
  /** Its name; must be the role's own. */ "name": RoleName;
  /** Overwrite one that exists. */ "replace"?: boolean;
  /** The role. */ "role": Role;
}
/** What putRole answers. */
export type PutRoleAnswer = {
  /** Keys that were kept but have no effect yet. */ "not_in_effect": (string)[];
  /** The role as kept. */ "role": Role;
};
/** Makes or changes a role. */
export function putRole(ask: PutRole, how?: How): Promise<PutRoleAnswer> {
  return json<PutRoleAnswer>('PUT', '/v1/roles/{name}', ask, how);
}
