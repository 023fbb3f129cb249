// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { json, type How } from '../lib/transport';
import type { RecordingMode, RoutingStrategy, Span } from './types';

/** What getClusterConfig asks. */
export interface GetClusterConfig {}
/** What getClusterConfig answers. */
export type GetClusterConfigAnswer = {
  /** End a session that has been quiet this long; `None` never. */ "client_idle_timeout"?: Span | null;
  /** What is said when a session ends for that; empty for the usual words. */ "client_idle_timeout_message"?: string;
  /** End sessions when the certificate expires. */ "disconnect_expired_cert"?: boolean;
  /** How many probes may go unanswered. */ "keep_alive_count_max": number;
  /** How often an idle connection is probed. */ "keep_alive_interval": Span;
  /** What a proxy does when several nodes have the name it is asked for. */ "routing_strategy"?: RoutingStrategy;
  /** Where sessions are recorded. */ "session_recording": RecordingMode;
  /** How long a proxy waits for the first word of a node. */ "ssh_dial_timeout"?: Span;
  /** Sign browsers out whose person did nothing for this long; `None` never. */ "web_idle_timeout"?: Span | null;
  /** Lock browsers whose person did nothing for this long, until they prove who they are; `None` never. */ "web_lock_timeout"?: Span | null;
};
/** Settings of the whole cluster. */
export function getClusterConfig(ask: GetClusterConfig = {}, how?: How): Promise<GetClusterConfigAnswer> {
  return json<GetClusterConfigAnswer>('GET', '/v1/config', ask, how);
}
