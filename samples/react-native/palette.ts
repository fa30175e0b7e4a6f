// Colours, as the page of `samples/web` has them.

export interface Palette {
  readonly page: string;
  readonly card: string;
  readonly field: string;
  readonly text: string;
  readonly quiet: string;
  readonly line: string;
  readonly edge: string;
  readonly accent: string;
  readonly onAccent: string;
  readonly tint: string;
  readonly error: string;
}

export const LIGHT: Palette = {
  page: "#f3f5f4", card: "#ffffff", field: "#f7f9f8", text: "#16201d", quiet: "#52605b", line: "#d5deda",
  edge: "#7d8c86", accent: "#0a6a5b", onAccent: "#ffffff", tint: "#e2f1ed", error: "#9c1c2b",
};

export const DARK: Palette = {
  page: "#0f1413", card: "#171e1c", field: "#111716", text: "#e8efec", quiet: "#a3b3ad", line: "#2d3936",
  edge: "#6d7f79", accent: "#63d4be", onAccent: "#07211c", tint: "#15302b", error: "#ff9c9c",
};
