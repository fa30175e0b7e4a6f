// What people read of names and sizes.

/** `302 kB`, `23.9 MB`. */
export function sized(bytes: number): string {
  return bytes < 999_500 ? `${Math.max(1, Math.round(bytes / 1000))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** `card_arrival` and `PlayMusic` as people write: `Card arrival`, `Play music`. */
export function readable(name: string): string {
  const words = name.replace(/([a-z])([A-Z])/g, "$1 $2").replace(/[_-]+/g, " ").trim().toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
