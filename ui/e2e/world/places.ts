// Every place of the app, as `#/place`, and who may be there. A new page gets a line here and is then looked at by all
// crawls: both languages, axe, keyboard, what a vendor may learn.
export const EVERYBODY = ['nodes', 'terminals', 'account'];
export const SOME = ['live', 'recordings', 'screens', 'events', 'users', 'fleet', 'tokens', 'roles'];
export const PLACES = [...EVERYBODY, ...SOME];
