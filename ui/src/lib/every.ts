/** Runs again and again, and not while the last time is still under way: a browser that is locked gathers no calls. */
export function every(ms: number, run: () => Promise<void>): () => void {
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    void run().finally(() => (busy = false));
  }, ms);
  return () => clearInterval(timer);
}
