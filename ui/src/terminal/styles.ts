// xterm.js writes <style> elements, which our content security policy rightly refuses, even empty ones. The same text as
// a constructed sheet is allowed, so who asks for a style element from here on gets one that adopts such a sheet. A style
// attribute is refused too, and the same text through the style object is not.

const sheets = new WeakMap<HTMLElement, CSSStyleSheet>();

function adopt(element: HTMLElement, text: string): void {
  let sheet = sheets.get(element);
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheets.set(element, sheet);
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  }
  sheet.replaceSync(text);
}

function release(element: HTMLElement): void {
  const sheet = sheets.get(element);
  document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
  sheets.delete(element);
}

let done = false;

export function adoptStyles(): void {
  if (done) return;
  done = true;
  const set = HTMLElement.prototype.setAttribute;
  HTMLElement.prototype.setAttribute = function (name: string, value: string): void {
    if (name === 'style') this.style.cssText = value;
    else set.call(this, name, value);
  };
  const make = document.createElement.bind(document);
  document.createElement = ((name: string, options?: ElementCreationOptions) => {
    const styles = name.toLowerCase() === 'style';
    const element = make(styles ? 'span' : name, options);
    if (styles) {
      element.hidden = true;
      Object.defineProperty(element, 'textContent', { set: (text: string) => adopt(element, text), get: () => '' });
      element.remove = () => {
        release(element);
        HTMLElement.prototype.remove.call(element);
      };
    }
    return element;
  }) as typeof document.createElement;
}
