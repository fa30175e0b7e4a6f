/** Values as messages show them. */

/** A value in at most 80 characters. */
export function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  if (typeof value === "function") return "a function";
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // a value that refers to itself
  }
  return (text ?? String(value)).slice(0, 80);
}

/** Names in quotes, or `none`. */
export function listed(names: Iterable<string>): string {
  return [...names].map((name) => JSON.stringify(name)).join(", ") || "none";
}
