/** Pictures of a page with at most 256 colours: its most frequent ones, the others as the nearest of them. */

import { crc32, deflateSync, inflateSync } from "node:zlib";

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const COLORS = 256;

/** A PNG of 8 bits a channel, RGB or RGBA (whose alpha is left out), as one with a palette. */
export function smallPng(png: Buffer): Buffer {
  const { width, height, pixels } = read(png);
  const counts = new Map<number, number>();
  for (const color of pixels) counts.set(color, (counts.get(color) ?? 0) + 1);
  const palette = [...counts].sort((a, b) => b[1] - a[1]).slice(0, COLORS).map(([color]) => color);
  const places = new Map([...counts.keys()].map((color) => [color, nearest(color, palette)]));
  const rows = Buffer.alloc(height * (width + 1));
  pixels.forEach((color, i) => (rows[Math.floor(i / width) * (width + 1) + 1 + (i % width)] = places.get(color)!));
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const colors = Buffer.from(palette.flatMap(channels));
  const data = deflateSync(rows, { level: 9 });
  return Buffer.concat([SIGNATURE, part("IHDR", header), part("PLTE", colors), part("IDAT", data), part("IEND")]);
}

function channels(color: number): number[] {
  return [color >> 16, (color >> 8) & 255, color & 255];
}

function nearest(color: number, palette: readonly number[]): number {
  const own = channels(color);
  const distance = (other: number) => channels(other).reduce((sum, x, i) => sum + (x - own[i]!) ** 2, 0);
  let best = 0;
  palette.forEach((other, i) => {
    if (distance(other) < distance(palette[best]!)) best = i;
  });
  return best;
}

function part(kind: string, data = Buffer.alloc(0)): Buffer {
  const body = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}

function read(png: Buffer): { width: number; height: number; pixels: Uint32Array } {
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const size = png[25] === 6 ? 4 : 3;
  const data: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString("latin1", at + 4, at + 8) === "IDAT") data.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const bytes = inflateSync(Buffer.concat(data));
  const length = width * size;
  const pixels = new Uint32Array(width * height);
  let above = new Uint8Array(length);
  for (let y = 0; y < height; y++) {
    const first = y * (length + 1);
    const row = new Uint8Array(bytes.subarray(first + 1, first + 1 + length));
    for (let i = 0; i < length; i++) {
      const [left, up, corner] = [row[i - size] ?? 0, above[i]!, above[i - size] ?? 0];
      row[i] = row[i]! + [0, left, up, (left + up) >> 1, paeth(left, up, corner)][bytes[first]!]!;
    }
    for (let x = 0; x < width; x++) {
      pixels[y * width + x] = (row[x * size]! << 16) | (row[x * size + 1]! << 8) | row[x * size + 2]!;
    }
    above = row;
  }
  return { width, height, pixels };
}

/** The filter of PNG's specification, section 9.4. */
function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [a, b, c] = [left, up, corner].map((x) => Math.abs(guess - x)) as [number, number, number];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
