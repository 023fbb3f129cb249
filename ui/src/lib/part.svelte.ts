// Parts of the app that are fetched when they are wanted.

/** A part could not be had: most often the gate was updated after this page was opened, and no longer has it. */
export const parts = $state({ missing: false });

/** Hands over the part once it is here. A browser does not fetch twice what failed: only loading the page anew helps. */
export async function part<T>(coming: Promise<T>, take: (part: T) => void): Promise<void> {
  let here: T;
  try {
    here = await coming;
  } catch {
    parts.missing = true;
    return;
  }
  take(here);
}
