// Where one is: `#/place/more?filter=…`. Every view is a link; the back button does what it says.

export interface Place {
  path: string[];
  query: URLSearchParams;
}

function read(): Place {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  return { path: path.split('/').filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

export const route = $state<{ now: Place }>({ now: read() });
addEventListener('hashchange', () => (route.now = read()));

export function link(path: string[], query: Record<string, string> = {}): string {
  const search = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== '')).toString();
  return `#/${path.map(encodeURIComponent).join('/')}${search ? `?${search}` : ''}`;
}

export function go(path: string[], query: Record<string, string> = {}): void {
  location.hash = link(path, query);
}

/** Changes filters without a new entry in the history. */
export function refine(query: Record<string, string>): void {
  const all = { ...Object.fromEntries(route.now.query), ...query };
  history.replaceState(null, '', link(route.now.path, all));
  route.now = read();
}
