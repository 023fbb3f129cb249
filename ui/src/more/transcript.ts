// What was shown, as lines of text with the time of each: control sequences left out, what was overwritten in a line
// overwritten here too.

export interface Line {
  at: number;
  text: string;
}

// CSI, OSC/DCS/APC/PM strings, and two-byte escapes.
const SEQUENCES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]P_^][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])/g;
const PARTIAL = /\x1b(?:\[[0-?]*[ -/]*|[\]P_^][^\x07\x1b]{0,4096})?$/;
const MAX_LINE = 4096;

export class Transcript {
  readonly lines: Line[] = [];
  private cells: string[] = [];
  private column = 0;
  private at = 0;
  private rest = '';
  private decoder = new TextDecoder();

  push(at: number, bytes: Uint8Array): void {
    let text = this.rest + this.decoder.decode(bytes, { stream: true });
    const partial = PARTIAL.exec(text);
    this.rest = partial ? partial[0] : '';
    if (partial) text = text.slice(0, partial.index);
    for (const char of text.replace(SEQUENCES, '')) this.put(at, char);
  }

  /** The lines, with the one that has no end yet. */
  all(): Line[] {
    const open = this.cells.join('').trimEnd();
    return open ? [...this.lines, { at: this.at, text: open }] : this.lines;
  }

  private put(at: number, char: string): void {
    if (char === '\n') {
      this.lines.push({ at: this.cells.length ? this.at : at, text: this.cells.join('').trimEnd() });
      this.cells = [];
      this.column = 0;
    } else if (char === '\r') {
      this.column = 0;
    } else if (char === '\b') {
      this.column = Math.max(0, this.column - 1);
    } else if (char === '\t') {
      this.column = Math.min(MAX_LINE, (this.column >> 3) * 8 + 8);
      while (this.cells.length < this.column) this.cells.push(' ');
    } else if (char >= ' ' && char !== '\x7f' && this.column < MAX_LINE) {
      if (!this.cells.length) this.at = at;
      while (this.cells.length < this.column) this.cells.push(' ');
      this.cells[this.column] = char;
      this.column += 1;
    }
  }
}
