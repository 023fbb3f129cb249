// Light, dark, high contrast, or as the system says.
export const THEMES = ['auto', 'light', 'dark', 'contrast'] as const;
export type Theme = (typeof THEMES)[number];

export function theme(): Theme {
  const kept = localStorage.getItem('theme') as Theme | null;
  return kept && THEMES.includes(kept) ? kept : 'auto';
}

export function wear(theme: Theme): void {
  localStorage.setItem('theme', theme);
  document.documentElement.dataset['theme'] = theme;
}
wear(theme());
