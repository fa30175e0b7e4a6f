// What Hermes and React Native have at run time and react-native's types do not list.

declare const performance: { now(): number };

declare class TextEncoder {
  encode(text: string): Uint8Array<ArrayBuffer>;
}
