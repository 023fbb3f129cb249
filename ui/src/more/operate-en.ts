export const en = {
  'place.fleet': 'Machines',
  'fleet.none': 'No machine has joined yet.', 'fleet.noneHint': 'Make a join token and run its command on the first one.',
  'fleet.join': 'Add a machine', 'fleet.since': 'In this state since', 'fleet.address': 'Reached', 'fleet.tunnel': 'through its tunnel',
  'fleet.forget': 'Forget', 'fleet.forgetTitle': 'Forget {name}?', 'fleet.forgetHint': 'Its certificates end at once and open sessions with it. To come back it must join again. Type the name to confirm.',
  'fleet.behind': 'older than the gate ({version})',
  'users.edit': 'Change', 'users.editTitle': 'Change {name}', 'users.by': 'Made by', 'users.until': 'May sign in until', 'users.saved': 'Changed: {name}. Open sessions follow within seconds.',
  'tokens.labels': 'Labels for its nodes (key=value, …)', 'tokens.proxy': 'Through an HTTP proxy', 'tokens.docker': 'As a service of systemd', 'tokens.ask': 'The host needs the moongate program and a way out to the gate; nothing listens on it.',
  'roles.remove': 'Remove', 'roles.removeTitle': 'Remove {name}?', 'roles.removeHint': 'Only a role that nobody holds can go. Type the name to confirm.',
  'roles.line': 'Line {line}: {what}', 'roles.review': 'See what changes', 'roles.diff': 'What changes in {name}', 'roles.same': 'Nothing changes.', 'roles.skipped': '… {n} lines as they were', 'roles.skipped_one': '… {n} line as it was', 'roles.added': 'added', 'roles.gone': 'removed', 'roles.back': 'Back to the text', 'roles.good': 'The text is well formed.',
  'roles.badYaml': 'not YAML: {why}', 'roles.unknown': '“{key}” is not known here', 'roles.missing': '“{key}” is missing', 'roles.notList': '“{key}” must be a list', 'roles.notText': '“{key}” must be text', 'roles.notMap': '“{key}” must be a map',
  'events.types': 'Event types', 'events.more': 'Further events of this user', 'events.session': 'Everything in this session', 'events.copy': 'Copy as JSON', 'events.all': 'Export all that match', 'events.exporting': '{n} events so far …', 'events.what': 'What', 'events.fields': 'Fields', 'events.json': 'JSON', 'events.clear': 'Clear the filters',
  'events.cut': 'Only the newest {n} were exported: narrow the time for the rest.',
};
export type OperateKey = keyof typeof en;
