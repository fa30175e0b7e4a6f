// A text that streams, behind a prefix or behind none.
import { readable, Section } from "./section.js";

const OPTIONS = { temperature: 0.7, topP: 0.95 };

/** The section that writes; `titles` are by adapter, `beginnings` are texts to go on from. */
export async function write({ titles = {}, beginnings = [] }) {
  const section = new Section("writer");
  try {
    const model = await section.loaded();
    for (const [name, { sizeBytes }] of model.adapters) {
      section.offer({ name, title: titles[name] ?? readable(name), bytes: sizeBytes }, name === model.defaultAdapter);
    }
    section.offer({ name: "", title: "No prefix", bytes: 0 }, model.defaultAdapter === null);
    const telling = new Telling(model, section);
    section.suggest(beginnings, () => telling.start());
    section.choices.addEventListener("change", () => telling.isRunning && telling.start());
    section.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (telling.isRunning) telling.stop();
      else telling.start();
    });
  } catch (error) {
    section.fail(error);
  }
}

/** One text at a time; another start ends the one before. */
class Telling {
  #writing = null;

  constructor(model, section) {
    this.model = model;
    this.section = section;
    this.button = section.find("button[type=submit]");
  }

  get isRunning() {
    return this.#writing !== null;
  }

  stop() {
    this.#writing?.abort();
  }

  async start() {
    this.stop();
    const writing = (this.#writing = new AbortController());
    const { section } = this;
    const story = section.find(".story");
    this.button.textContent = "Stop";
    story.textContent = section.input.value;
    // read out once it is whole, not token by token
    story.ariaBusy = "true";
    try {
      const options = { ...OPTIONS, adapter: section.task, signal: writing.signal };
      for await (const { text, timing } of this.model.stream(section.input.value, options)) {
        if (this.#writing !== writing) return;
        story.append(text);
        if (timing) {
          section.show("First token", `${timing.firstTokenMs.toFixed(0)} ms`);
          section.show("Then", `${timing.tokensPerSecond.toFixed(0)} tokens/s`);
        }
      }
    } catch (error) {
      section.fail(error);
    } finally {
      if (this.#writing === writing) {
        this.#writing = null;
        this.button.textContent = "Write";
        story.ariaBusy = "false";
      }
    }
  }
}
