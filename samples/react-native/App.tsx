// One screen: a sentence gets its labels as it is typed, for each of the tasks of one base; a beginning is gone on from.
import { useEffect, useRef, useState } from "react";
import {
  Pressable,
  ScrollView,
  StyleSheet,
  Text,
  TextInput,
  useColorScheme,
  View,
} from "react-native";

import type { Model } from "edgetune-runtime";

import { readable, sized } from "./names";
import { DARK, LIGHT, type Palette } from "./palette";
import { type Loading, useModel } from "./useModel";

/** Where `samples/web/make_bundles.py` put its bundles, served: see README.md. */
const SERVER = "http://10.0.2.2:8000";
const MOST_LABELS = 5;

export default function App() {
  const palette = useColorScheme() === "dark" ? DARK : LIGHT;
  return (
    <ScrollView
      style={{ backgroundColor: palette.page }}
      contentContainerStyle={styles.screen}
      contentInsetAdjustmentBehavior="automatic"
      keyboardShouldPersistTaps="handled"
    >
      <Text accessibilityRole="header" style={[styles.title, { color: palette.text }]}>
        One model, many tasks
      </Text>
      <Reader palette={palette} />
      <Teller palette={palette} />
    </ScrollView>
  );
}

/** Labels of a sentence, with their probabilities. */
function Reader({ palette }: { palette: Palette }) {
  const loading = useModel(`${SERVER}/classifier`);
  const [task, setTask] = useState<string | null>(null);
  const [text, setText] = useState("");
  const [scores, setScores] = useState<readonly [string, number][]>([]);
  const [latency, setLatency] = useState("");
  const [failure, setFailure] = useState<Error | null>(null);
  const { model } = loading;
  const chosen = task ?? model?.defaultAdapter ?? null;

  useEffect(() => {
    let isStale = false;
    async function answer(model: Model, sentence: string) {
      const began = performance.now();
      const found = await model.classify(sentence, { adapter: chosen, topK: MOST_LABELS });
      if (isStale) return;
      setScores([...found.scores]);
      setLatency(`${(performance.now() - began).toFixed(0)} ms`);
    }
    if (!model || !text.trim()) {
      setScores([]);
      setLatency("");
      return;
    }
    answer(model, text.trim()).catch(setFailure);
    return () => {
      isStale = true;
    };
  }, [model, chosen, text]);

  return (
    <Card title="Understand" loading={loading} failure={failure} palette={palette}>
      <Choices label="Task" names={model ? [...model.adapters.keys()] : []} chosen={chosen} palette={palette}
        sizeOf={(name) => sized(model!.adapters.get(name)!.sizeBytes)} onChoose={setTask} />
      <TextInput
        accessibilityLabel="Your sentence"
        placeholder="Your sentence"
        placeholderTextColor={palette.quiet}
        autoCapitalize="none"
        autoCorrect={false}
        editable={model !== null}
        value={text}
        onChangeText={setText}
        style={[styles.field, { color: palette.text, borderColor: palette.edge, backgroundColor: palette.field }]}
      />
      <View accessibilityLiveRegion="polite" style={styles.bars}>
        {scores.map(([label, score]) => (
          <View key={label} accessible accessibilityLabel={`${readable(label)}, ${(100 * score).toFixed(0)} percent`}>
            <View style={styles.row}>
              <Text numberOfLines={1} style={[styles.label, { color: palette.text }]}>
                {readable(label)}
              </Text>
              <Text style={{ color: palette.text, fontVariant: ["tabular-nums"] }}>{(100 * score).toFixed(0)} %</Text>
            </View>
            <View style={[styles.track, { backgroundColor: palette.line }]}>
              <View style={[styles.bar, { backgroundColor: palette.accent, width: `${100 * score}%` }]} />
            </View>
          </View>
        ))}
      </View>
      <Text style={{ color: palette.quiet }}>{latency}</Text>
    </Card>
  );
}

/** A text that comes piece by piece, behind a prefix or behind none. */
function Teller({ palette }: { palette: Palette }) {
  const loading = useModel(`${SERVER}/writer`);
  const [prefix, setPrefix] = useState<string | null | undefined>(undefined);
  const [beginning, setBeginning] = useState("Once upon a time");
  const [story, setStory] = useState("");
  const [speed, setSpeed] = useState("");
  const [failure, setFailure] = useState<Error | null>(null);
  const [writing, setWriting] = useState<AbortController | null>(null);
  const mounted = useRef<AbortController | null>(null);
  const { model } = loading;
  const chosen = prefix === undefined ? (model?.defaultAdapter ?? null) : prefix;

  useEffect(() => () => mounted.current?.abort(), []);

  async function write(model: Model) {
    const controller = new AbortController();
    mounted.current = controller;
    setWriting(controller);
    setStory(beginning);
    try {
      const options = { adapter: chosen, temperature: 0.7, topP: 0.95, signal: controller.signal };
      for await (const { text, timing } of model.stream(beginning, options)) {
        setStory((before) => before + text);
        if (timing) setSpeed(`${timing.firstTokenMs.toFixed(0)} ms, then ${timing.tokensPerSecond.toFixed(0)} tokens/s`);
      }
    } catch (error) {
      setFailure(error as Error);
    } finally {
      setWriting(null);
    }
  }

  return (
    <Card title="Write" loading={loading} failure={failure} palette={palette}>
      <Choices label="Prefix" names={model ? [...model.adapters.keys(), null] : []} chosen={chosen} palette={palette}
        sizeOf={(name) => sized(model!.adapters.get(name)!.sizeBytes)} onChoose={setPrefix} />
      <TextInput
        accessibilityLabel="A beginning"
        editable={model !== null}
        value={beginning}
        onChangeText={setBeginning}
        style={[styles.field, { color: palette.text, borderColor: palette.edge, backgroundColor: palette.field }]}
      />
      <Pressable
        accessibilityRole="button"
        disabled={!model}
        onPress={() => (writing ? writing.abort() : model && write(model))}
        style={[styles.button, { backgroundColor: palette.accent, opacity: model ? 1 : 0.5 }]}
      >
        <Text style={[styles.strong, { color: palette.onAccent }]}>{writing ? "Stop" : "Write"}</Text>
      </Pressable>
      <Text accessibilityLiveRegion={writing ? "none" : "polite"} style={[styles.story, { color: palette.text }]}>
        {story}
      </Text>
      <Text style={{ color: palette.quiet }}>{speed}</Text>
    </Card>
  );
}

/** A section with its model's progress and whatever went wrong. */
function Card({ title, loading, failure, palette, children }: {
  title: string;
  loading: Loading;
  failure: Error | null;
  palette: Palette;
  children: React.ReactNode;
}) {
  const error = loading.error ?? failure;
  return (
    <View style={[styles.card, { backgroundColor: palette.card, borderColor: palette.line }]}>
      <Text accessibilityRole="header" style={[styles.heading, { color: palette.text }]}>
        {title}
      </Text>
      <Text accessibilityLiveRegion="polite" style={{ color: palette.quiet }}>
        {loading.told}
      </Text>
      {error && (
        <Text accessibilityRole="alert" style={[styles.strong, { color: palette.error }]}>
          {error.message}
        </Text>
      )}
      {children}
    </View>
  );
}

/** One of several, null being the bare model. */
function Choices<Name extends string | null>({ label, names, chosen, sizeOf, onChoose, palette }: {
  label: string;
  names: readonly Name[];
  chosen: string | null;
  sizeOf: (name: string) => string;
  onChoose: (name: Name) => void;
  palette: Palette;
}) {
  return (
    <View accessibilityRole="radiogroup" accessibilityLabel={label} style={styles.choices}>
      {names.map((name) => {
        const isChosen = name === chosen;
        const border = isChosen ? palette.accent : palette.edge;
        return (
          <Pressable
            key={name ?? ""}
            accessibilityRole="radio"
            accessibilityState={{ checked: isChosen }}
            onPress={() => onChoose(name)}
            style={[styles.choice, { borderColor: border, backgroundColor: isChosen ? palette.tint : palette.card }]}
          >
            <Text style={[styles.strong, { color: palette.text }]}>{name === null ? "None" : readable(name)}</Text>
            <Text style={{ color: palette.quiet }}>{name === null ? "the bare model" : sizeOf(name)}</Text>
          </Pressable>
        );
      })}
    </View>
  );
}

const styles = StyleSheet.create({
  screen: { gap: 16, padding: 16, paddingTop: 56 },
  title: { fontSize: 28, fontWeight: "700" },
  heading: { fontSize: 20, fontWeight: "700" },
  card: { gap: 12, padding: 16, borderRadius: 16, borderWidth: 1 },
  choices: { flexDirection: "row", flexWrap: "wrap", gap: 8 },
  choice: { minHeight: 48, paddingHorizontal: 12, paddingVertical: 6, borderRadius: 10, borderWidth: 1 },
  field: { minHeight: 48, paddingHorizontal: 12, borderRadius: 10, borderWidth: 1, fontSize: 16 },
  button: { minHeight: 48, alignItems: "center", justifyContent: "center", borderRadius: 10 },
  strong: { fontWeight: "600" },
  bars: { gap: 8, minHeight: 200 },
  row: { flexDirection: "row", justifyContent: "space-between", gap: 12 },
  label: { flexShrink: 1 },
  track: { height: 7, borderRadius: 4, overflow: "hidden" },
  bar: { height: 7 },
  story: { minHeight: 160, fontSize: 16, lineHeight: 24 },
});
