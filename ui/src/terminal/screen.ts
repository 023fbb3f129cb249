// An xterm.js terminal dressed in our tokens: WebGL where it works, the DOM where it does not. OSC 52 stays off: what
// runs on a node neither reads nor writes the clipboard.
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { WebglAddon } from '@xterm/addon-webgl';
import { Terminal, type ITheme } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import { adoptStyles } from './styles';

export interface Screen {
  terminal: Terminal;
  fit: FitAddon;
  search: SearchAddon;
  renderer: () => 'webgl' | 'dom';
}

function colours(): ITheme {
  const style = getComputedStyle(document.documentElement);
  const token = (name: string) => style.getPropertyValue(name).trim();
  return {
    background: token('--term-back'), foreground: token('--term-ink'), cursor: token('--term-cursor'),
    selectionBackground: token('--term-selection'),
  };
}

export function fontSize(): number {
  const kept = Number(localStorage.getItem('terminal.size'));
  return kept >= 8 && kept <= 40 ? kept : 14;
}

/** Rows as text beside the picture, for screen readers; costs some speed. */
export function readsAloud(): boolean {
  return localStorage.getItem('terminal.reader') === 'yes';
}

/** Rows of the DOM cut off what is below them: without it the underscores of DejaVu Sans Mono at 14 pixels are not there. */
const ROOM = 1.1;

export function make(parent: HTMLElement, options: { disableStdin?: boolean; scrollback?: number } = {}): Screen {
  adoptStyles();
  const terminal = new Terminal({
    fontFamily: 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", "Noto Sans Mono CJK SC", monospace',
    fontSize: fontSize(),
    scrollback: 5000,
    theme: colours(),
    minimumContrastRatio: 4.5,
    screenReaderMode: readsAloud(),
    macOptionIsMeta: true,
    allowProposedApi: true,
    ...options,
  });
  const fit = new FitAddon();
  const search = new SearchAddon();
  terminal.loadAddon(fit);
  terminal.loadAddon(search);
  terminal.open(parent);
  // Answered here so that no later addon can turn it on.
  terminal.parser.registerOscHandler(52, () => true);
  let renderer: 'webgl' | 'dom' = 'dom';
  try {
    const webgl = new WebglAddon();
    webgl.onContextLoss(() => {
      webgl.dispose();
      renderer = 'dom';
      terminal.options.lineHeight = ROOM;
      if (!options.disableStdin) fit.fit();
    });
    terminal.loadAddon(webgl);
    renderer = 'webgl';
  } catch {
    renderer = 'dom';
    terminal.options.lineHeight = ROOM;
  }
  return { terminal, fit, search, renderer: () => renderer };
}
