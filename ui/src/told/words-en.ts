export const en = {
  'told.badge': 'Recorded', 'told.badgeHint': 'What this terminal shows is recorded.',
  'told.badgeKeys': 'What this terminal shows and what you type is recorded.',
  'told.title': 'Sessions here are recorded',
  'told.why': 'Whoever runs this gate records what is done on its nodes. Before the first session they ask for your agreement.',
  'told.what': 'What is kept',
  'told.screen': 'Everything a terminal shows, with the time of each change.',
  'told.keys': 'What you type.', 'told.noKeys': 'Not what you type, unless the terminal shows it.',
  'told.commands': 'Commands without a terminal: the command, how it ended, and the first megabyte that goes in and out.',
  'told.files': 'Files you move: path, size and SHA-256, not what is in them.',
  'told.who': 'Who you are, your address, the node, the account, when it began and ended, and that you agreed.',
  'told.look': 'People with the right to do so can watch a session while it goes on and look at it later.',
  'told.yes': 'I agree', 'told.no': 'Not now',
  'told.after': 'It holds for every session you open until you sign out.',
};
export type ToldKey = keyof typeof en;
