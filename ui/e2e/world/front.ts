// nginx in front of a gate. DIRECTIVES are exactly those that people have there; others show what a broken front does.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { free, run, Running, until } from './process';

export const DIRECTIVES = (port: number) => `proxy_pass https://127.0.0.1:${port};
proxy_ssl_verify off;
proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection "upgrade";`;

/** A front that speaks HTTP/1.1 to the gate and drops what asks for an upgrade. */
export const WITHOUT_UPGRADE = (port: number) => `proxy_pass https://127.0.0.1:${port};
proxy_ssl_verify off;
proxy_http_version 1.1;`;

export class Front {
  readonly dir = mkdtempSync(join(tmpdir(), 'moongate-front-'));
  private running: Running | null = null;
  private constructor(readonly port: number, private location: string) {}

  static async start(location: string): Promise<Front> {
    const front = new Front(await free(), location);
    front.write();
    await front.up();
    return front;
  }

  /** Stands still from here on, with what it is given. */
  freeze(): void {
    this.running?.freeze();
  }

  /** Cuts every connection through it at once. */
  async down(): Promise<void> {
    await this.running?.stop('SIGKILL');
    this.running = null;
  }

  async up(): Promise<void> {
    this.running = Running.start('nginx', '/usr/sbin/nginx', ['-c', join(this.dir, 'nginx.conf')], this.dir);
    await until('nginx to listen', () => new Promise<true | undefined>((done) => {
      const socket = connect(this.port, '127.0.0.1', () => { socket.destroy(); done(true); });
      socket.on('error', () => done(undefined));
    }));
  }

  async stop(): Promise<void> {
    await this.running?.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  private write(): void {
    const at = this.dir;
    run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1',
      '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', `${at}/front.key`, '-out', `${at}/front.crt`], at);
    // One process, so that killing it cuts what it carried.
    writeFileSync(`${at}/nginx.conf`, `daemon off;\nmaster_process off;\nworker_processes 1;\npid ${at}/nginx.pid;\nerror_log ${at}/error.log;\nevents { }\nhttp {
access_log off;\nclient_max_body_size 0;\nclient_body_temp_path ${at}/b;\nproxy_temp_path ${at}/p;\nfastcgi_temp_path ${at}/f;\nuwsgi_temp_path ${at}/u;\nscgi_temp_path ${at}/s;
server {\nlisten 127.0.0.1:${this.port} ssl;\nssl_certificate ${at}/front.crt;\nssl_certificate_key ${at}/front.key;\nlocation / {\n${this.location}\n}\n}\n}\n`);
  }
}
