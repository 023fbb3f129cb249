// Keyboard in tables: arrows, Home and End move between rows, Enter opens. Used as an attachment of <tbody>.
export function rows(body: HTMLElement): () => void {
  const keys = (event: KeyboardEvent) => {
    const own = (event.target as HTMLElement).closest('tr');
    if (!own || event.target !== own) return;
    const all = [...body.querySelectorAll<HTMLElement>('tr[tabindex]')];
    const at = all.indexOf(own as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      all[Math.max(0, Math.min(all.length - 1, to))]?.focus();
    } else if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      own.click();
    }
  };
  body.addEventListener('keydown', keys);
  return () => body.removeEventListener('keydown', keys);
}
