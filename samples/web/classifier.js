// Labels of a sentence as it is typed, by any of the tasks that share one base.
import { made, readable, Section, sized } from "./section.js";

const MOST_LABELS = 5;
/** How long a pause is after which the answer is read out. */
const PAUSE_MS = 700;

/** The section that reads; `titles` and `examples` are by task. */
export async function classify({ titles = {}, examples = {} }) {
  const section = new Section("classifier");
  try {
    const model = await section.loaded();
    for (const [name, { sizeBytes }] of model.adapters) {
      section.offer({ name, title: titles[name] ?? readable(name), bytes: sizeBytes }, name === model.defaultAdapter);
    }
    const answering = new Answering(model, section);
    const suggest = () => section.suggest(examples[section.task] ?? [], () => answering.update());
    section.form.addEventListener("input", () => answering.update());
    section.choices.addEventListener("change", suggest);
    section.form.addEventListener("submit", (event) => event.preventDefault());
    takeFiles(model, section, answering);
    suggest();
    await answering.update();
  } catch (error) {
    section.fail(error);
  }
}

/** Answers what is there now, one sentence at a time: what was typed meanwhile but is no longer there is passed over. */
class Answering {
  #isBusy = false;
  #isStale = false;
  #pause = 0;

  constructor(model, section) {
    this.model = model;
    this.section = section;
  }

  async update() {
    this.#isStale = true;
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      while (this.#isStale) {
        this.#isStale = false;
        await this.#answer();
      }
    } catch (error) {
      this.section.fail(error);
    } finally {
      this.#isBusy = false;
    }
  }

  async #answer() {
    const { section, model } = this;
    const { task } = section;
    const text = section.input.value.trim();
    const began = performance.now();
    const answer = text ? await model.classify(text, { adapter: task, topK: MOST_LABELS }) : null;
    const ms = performance.now() - began;
    draw(section.find(".bars"), answer ? [...answer.scores] : []);
    section.show("Answer", answer && `${ms.toFixed(0)} ms`);
    section.show("This task", sized(model.adapters.get(task).sizeBytes));
    clearTimeout(this.#pause);
    const said = answer ? `${readable(answer.label)}, ${(100 * answer.score).toFixed(0)} percent` : "";
    this.#pause = setTimeout(() => (section.find(".said").textContent = said), PAUSE_MS);
  }
}

/** A row for each label; rows stay where they are, so that bars grow and shrink. */
function draw(list, scores) {
  while (list.children.length > scores.length) list.lastChild.remove();
  while (list.children.length < scores.length) {
    list.append(made("li", {}, made("span"), made("i", { ariaHidden: "true" }), made("b")));
  }
  scores.forEach(([label, score], i) => {
    const [name, bar, share] = list.children[i].children;
    name.textContent = readable(label);
    name.title = label;
    bar.style.setProperty("--share", score);
    share.textContent = `${(100 * score).toFixed(0)} %`;
  });
}

/** A task that a user brings along: it is here at once, or refused with a reason. */
function takeFiles(model, section, answering) {
  const label = section.find(".file");
  const input = label.querySelector("input");
  label.hidden = false;
  input.addEventListener("change", async () => {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    try {
      section.find(".error").hidden = true;
      const { name, sizeBytes } = await model.addAdapter(file);
      section.offer({ name, title: readable(name), bytes: sizeBytes }, true);
      section.suggest([], () => undefined);
      await answering.update();
    } catch (error) {
      section.fail(error);
    }
  });
}
