// What is told before sessions, for those who are told anything; to all others this stays empty and nothing is loaded.
import type { Component } from 'svelte';

export const told = $state<{ part: { Consent: Component<{ leave: () => void }> } | null }>({ part: null });
