// Text that is longer than its box is scrolled by keyboard too. Used as an attachment of the box.
export function scrolls(box: HTMLElement): () => void {
  const look = () => {
    if (box.scrollHeight > box.clientHeight || box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute('tabindex');
  };
  const sized = new ResizeObserver(look);
  sized.observe(box);
  return () => sized.disconnect();
}
