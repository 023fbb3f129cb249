// Where one was last among files, and how much is under way: what the frame shows of files without loading them.
export const last = $state<{ path: string[]; query: Record<string, string>; active: number }>({ path: [], query: {}, active: 0 });
