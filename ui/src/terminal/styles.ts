// xterm.js writes <style> elements, which our content security policy rightly refuses. The same text as a constructed
// sheet is allowed, so style elements made from here on adopt one instead.

const sheets = new WeakMap<HTMLStyleElement, CSSStyleSheet>();

function adopt(element: HTMLStyleElement, text: string): void {
  let sheet = sheets.get(element);
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheets.set(element, sheet);
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  }
  sheet.replaceSync(text);
}

function release(element: HTMLStyleElement): void {
  const sheet = sheets.get(element);
  document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
  sheets.delete(element);
}

let done = false;

export function adoptStyles(): void {
  if (done) return;
  done = true;
  const make = document.createElement.bind(document);
  document.createElement = ((name: string, options?: ElementCreationOptions) => {
    const element = make(name, options);
    if (element instanceof HTMLStyleElement) {
      Object.defineProperty(element, 'textContent', { set: (text: string) => adopt(element, text), get: () => '' });
      element.remove = () => {
        release(element);
        HTMLElement.prototype.remove.call(element);
      };
    }
    return element;
  }) as typeof document.createElement;
}
