// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { json, type How } from '../lib/transport';
import type { ClusterInfo, JobStatus } from './types';

/** What getStatus asks. */
export interface GetStatus {}
/** What getStatus answers. */
export type GetStatusAnswer = {
  /** The cluster. */ "cluster": ClusterInfo;
  /** Counts by kind: users, roles, nodes online, nodes offline, live sessions. */ "counts": Record<string, number>;
  /** Background jobs. */ "jobs": (JobStatus)[];
};
/** Health of the authority and its background jobs. */
export function getStatus(ask: GetStatus = {}, how?: How): Promise<GetStatusAnswer> {
  return json<GetStatusAnswer>('GET', '/v1/status', ask, how);
}
