import { expect, test } from 'vitest';
import type { User } from '../src/api/types';
import { changed, made, said } from '../src/more/user-form';

const ann: User = { name: 'ann', created_at: '', roles: ['access', 'auditor'], traits: { logins: ['root', 'ann'], team: ['blue'] } };

test.each([
  ['nothing', {}, null],
  ['the accounts', { logins: 'root' }, { name: 'ann', traits: { logins: ['root'], team: ['blue'] } }],
  ['no account', { logins: '' }, { name: 'ann', traits: { team: ['blue'] } }],
  ['the roles', { roles: 'access' }, { name: 'ann', roles: ['access'] }],
  ['both', { roles: 'access', logins: 'ann' }, { name: 'ann', roles: ['access'], traits: { logins: ['ann'], team: ['blue'] } }],
  ['how it is written', { roles: ' access  auditor ', logins: 'root,ann' }, null],
])('of a form in which %s was changed only that is sent', (_, typed, wanted) => {
  expect(changed(ann, { ...said(ann), ...typed })).toEqual(wanted);
});

test('a new user has what the form says', () => {
  expect(made({ roles: 'access', logins: 'root, ann' })).toEqual({ roles: ['access'], traits: { logins: ['root', 'ann'] } });
  expect(made({ roles: 'access', logins: ' ' })).toEqual({ roles: ['access'], traits: {} });
});
