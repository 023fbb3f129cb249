// Whether somebody is there: what they do with keys, pointer and wheel, in any tab of this browser. What a page asks by itself
// and what a program makes a terminal answer is none of it.
import { alive, ask, lock, session } from './session.svelte';

/** How often, at most, the gate is told. */
const TELL = 20_000;
/** How often a locked page asks whether it still is. */
const ASK = 5_000;

const others = new BroadcastChannel('moongate presence');
let last = Date.now();
let told = last;
let asked = last;
let at = '';

function noticed(event: Event): void {
  if (!event.isTrusted) return;
  if (event instanceof PointerEvent && event.type === 'pointermove') {
    // A page that moves under a pointer that rests makes one too.
    const now = `${event.screenX} ${event.screenY}`;
    if (now === at) return;
    at = now;
  }
  last = Date.now();
}

function look(): void {
  const after = (session.now?.lock_seconds ?? 0) * 1000;
  const now = Date.now();
  if (!session.now || session.locked) {
    // Whoever unlocks is there.
    last = told = now;
    if (session.locked && now - asked >= ASK) {
      asked = now;
      // The gate may not have heard of it; it may be over meanwhile.
      void lock().then(ask);
    }
    return;
  }
  if (last - told >= Math.min(TELL, after / 4 || TELL)) {
    told = last;
    others.postMessage(last);
    void alive();
  }
  if (after && now - last >= after) void lock();
}

export function watch(): () => void {
  const kinds = ['keydown', 'pointerdown', 'pointermove', 'wheel'];
  for (const kind of kinds) addEventListener(kind, noticed, { capture: true, passive: true });
  others.onmessage = ({ data }) => (last = Math.max(last, Math.min(Number(data) || 0, Date.now())));
  // A computer that slept, or a tab that was not looked at: before anything is shown.
  document.addEventListener('visibilitychange', look);
  const timer = setInterval(look, 1000);
  return () => {
    for (const kind of kinds) removeEventListener(kind, noticed, { capture: true });
    document.removeEventListener('visibilitychange', look);
    clearInterval(timer);
  };
}
