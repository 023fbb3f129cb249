import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { signIn, visit, world } from '../world/browser';
import { Front, WITHOUT_UPGRADE } from '../world/front';
import { Gate } from '../world/gate';
import { open, shows, type } from '../world/terminal';

test('behind a front that drops upgrades the terminal works over plain HTTP and names the header', async () => {
  const front = await Front.start(WITHOUT_UPGRADE(world.port));
  onTestFinished(() => front.stop());
  const page = await visit('nodes', { cookie: world.vendor, port: front.port, expected: /ERR_CONNECTION|WebSocket connection|status of 426|INCOMPLETE_CHUNKED_ENCODING|status of 404/ });
  await open(page);
  await page.getByText('It drops the header “Upgrade”').waitFor();
  await page.getByText('proxy_set_header Upgrade $http_upgrade;').waitFor();

  await type(page, 'echo plain-$((40 + 2))');
  await shows(page, /^plain-42$/m);
  await type(page, 'head -c 3000000 /dev/zero | tr "\\0" x | fold -w 100; echo; echo whole-$((6 * 7))');
  await shows(page, /^whole-42$/m);
  await type(page, 'yes "a flood"');
  await shows(page, /a flood\na flood/);
  await page.keyboard.press('Control+c');
  await type(page, 'clear; kept=$$; echo first-$kept');
  const shell = /^first-(\d+)$/m.exec(await shows(page, /^first-\d+$/m))![1];

  await front.down();
  await page.getByText('Connection lost. Coming back').waitFor();
  await front.up();
  await page.locator('footer [role=status].good').waitFor();
  await type(page, 'echo "same-$kept-$$"');
  expect(await shows(page, /^same-\d+-\d+$/m)).toContain(`same-${shell}-${shell}`);

  await type(page, 'exit');
  await page.getByText('The session has ended').waitFor();
});

test('a front that speaks HTTP/1.0 to the gate is named too', async () => {
  const front = await Front.start(`proxy_pass https://127.0.0.1:${world.port};\nproxy_ssl_verify off;\nproxy_http_version 1.0;`);
  onTestFinished(() => front.stop());
  const page = await visit('nodes', { cookie: world.vendor, port: front.port, expected: /WebSocket connection|status of 426|INCOMPLETE_CHUNKED_ENCODING|status of 404/ });
  await open(page);
  await page.getByText('proxy_http_version 1.1;').waitFor();
  await type(page, 'echo old-$((1))');
  await shows(page, /^old-1$/m);
});

test('after the gate itself was started anew and the person signed in again, the same shell is there with what it said', async () => {
  const gate = await Gate.startApart();
  onTestFinished(() => gate.stop());
  const who = await gate.person('eve', 'access');
  const page = await visit('nodes', { cookie: await who.cookie(gate.port), port: gate.port, expected: /ERR_|WebSocket connection|status of (401|5\d\d)|INCOMPLETE_CHUNKED_ENCODING|status of 404/ });
  await open(page);
  const go = join(gate.dir, 'go');
  await type(page, `kept=$$; echo first-$kept; until [ -e ${go} ]; do sleep 0.1; done; echo mean""while`);
  const shell = /^first-(\d+)$/m.exec(await shows(page, /^first-\d+$/m))![1];

  await gate.running.get('proxy')!.stop('SIGKILL');
  await page.getByText('Connection lost. Coming back').waitFor();
  writeFileSync(go, '');
  await gate.startProxy();
  await gate.online('gpu-1');
  await page.getByLabel('Password').waitFor();
  await signIn(page, who);

  await shows(page, /^meanwhile$/m);
  await page.locator('footer [role=status].good').waitFor();
  await type(page, 'echo "same-$kept-$$"');
  expect(await shows(page, /^same-\d+-\d+$/m)).toContain(`same-${shell}-${shell}`);

  // Where the node was started anew too, nothing is left, and the page says so.
  await gate.running.get('gpu-1')!.stop('SIGKILL');
  await page.getByText('Connection lost. Coming back').waitFor();
  await gate.join('gpu-1', gate.port, { env: 'prod' });
  await page.getByText('Nobody came back to this shell in time').waitFor();
  await page.getByRole('button', { name: 'Open anew' }).click();
  await shows(page, /[#$] *$/m);
  await type(page, 'echo after-$((2))');
  await shows(page, /^after-2$/m);
});
