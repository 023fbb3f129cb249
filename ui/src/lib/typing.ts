// Keys come first: what can wait for a pause does.

/** Without a key for so long, in milliseconds, somebody pauses. */
const PAUSE = 400;
/** Nothing waits longer than this, in milliseconds. */
const LONGEST = 15_000;

let last = -PAUSE;
addEventListener('keydown', () => (last = performance.now()), { capture: true, passive: true });

/** Waits until nobody has pressed a key for a moment, or for `LONGEST`. */
export async function pause(): Promise<void> {
  const end = performance.now() + LONGEST;
  for (let now = performance.now(); now - last < PAUSE && now < end; now = performance.now()) {
    await new Promise((done) => setTimeout(done, PAUSE - (now - last)));
  }
}
