// Two models, each in a worker of its own: one reads a sentence as it is typed, the other goes on from a beginning.
import { loadInWorker } from "edgetune-runtime/remote";

const MOST_LABELS = 5;
const kilobytes = (bytes) => `${Math.max(1, Math.round(bytes / 1000)).toLocaleString("en")} kB`;
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** One section of the page. */
function sectionOf(name) {
  const section = document.getElementById(name);
  const find = (selector) => section.querySelector(selector);
  return {
    form: find("form"),
    tasks: find("fieldset"),
    input: find("input:not([type=radio])"),
    button: find("button"),
    result: find(".bars, .story"),
    figures: find(".figures"),
    progress: find("progress"),
    note: find(".note span"),
    /** What went wrong, in the runtime's own words; nothing takes it away. */
    fail(error) {
      const alert = find(".error");
      alert.textContent = error.message;
      alert.hidden = false;
      this.progress.hidden = true;
    },
    task: () => find("input[type=radio]:checked")?.value || null,
  };
}

/** The model in a bundle beside this page, with how far it is on the way. */
async function loaded(bundle, section) {
  const began = performance.now();
  let size = 0;
  const worker = new Worker("worker.js", { type: "module" });
  const model = await loadInWorker(worker, bundle, {
    onProgress({ loadedBytes, totalBytes }) {
      size = totalBytes;
      section.progress.value = loadedBytes / totalBytes;
      section.note.textContent = `${megabytes(loadedBytes)} of ${megabytes(totalBytes)}`;
    },
  });
  section.progress.hidden = true;
  section.note.textContent = `${megabytes(size)}, ready after ${((performance.now() - began) / 1000).toFixed(1)} s`;
  for (const control of section.form.elements) control.disabled = false;
  return model;
}

/** A button for each task, with what it adds to the base. */
function showTasks(section, tasks, chosen) {
  for (const { value, text, bytes } of tasks) {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "task", value });
    radio.checked = value === (chosen ?? "");
    label.append(radio, ` ${text}${bytes ? ` (${kilobytes(bytes)})` : ""}`);
    section.tasks.append(label);
  }
}

const named = ([name, info]) => ({ value: name, text: name, bytes: info.sizeBytes });

async function understand() {
  const section = sectionOf("classifier");
  try {
    const model = await loaded("classifier", section);
    showTasks(section, [...model.adapters].map(named), model.defaultAdapter);
    let isBusy = false;
    let isStale = false;
    const update = async () => {
      isStale = true;
      if (isBusy) return;
      isBusy = true;
      try {
        while (isStale) {
          isStale = false;
          const text = section.input.value.trim();
          const began = performance.now();
          const answer = text && (await model.classify(text, { adapter: section.task(), topK: MOST_LABELS }));
          section.result.replaceChildren(...(answer ? [...answer.scores].map(bar) : []));
          section.figures.textContent = answer ? `${(performance.now() - began).toFixed(0)} ms` : "";
        }
      } catch (error) {
        section.fail(error);
      } finally {
        isBusy = false;
      }
    };
    section.form.addEventListener("input", update);
    section.form.addEventListener("submit", (event) => event.preventDefault());
    await update();
  } catch (error) {
    section.fail(error);
  }
}

function bar([label, score]) {
  const row = document.createElement("li");
  const name = Object.assign(document.createElement("span"), { textContent: label, title: label });
  const meter = Object.assign(document.createElement("meter"), { value: score, ariaLabel: label });
  const share = Object.assign(document.createElement("output"), { value: `${(100 * score).toFixed(0)} %` });
  row.append(name, meter, share);
  return row;
}

async function write() {
  const section = sectionOf("writer");
  try {
    const model = await loaded("writer", section);
    const bare = { value: "", text: "the bare model" };
    showTasks(section, [...[...model.adapters].map(named), bare], model.defaultAdapter);
    let writing = null;
    section.form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (writing) {
        writing.abort();
        return;
      }
      writing = new AbortController();
      section.button.textContent = "Stop";
      section.result.textContent = section.input.value;
      try {
        const options = { adapter: section.task(), temperature: 0.8, topP: 0.95, signal: writing.signal };
        for await (const { text, timing } of model.stream(section.input.value, options)) {
          section.result.append(text);
          if (timing) {
            const { firstTokenMs, tokensPerSecond } = timing;
            section.figures.textContent =
              `first token after ${firstTokenMs.toFixed(0)} ms, then ${tokensPerSecond.toFixed(0)} tokens a second`;
          }
        }
      } catch (error) {
        section.fail(error);
      } finally {
        writing = null;
        section.button.textContent = "Write";
      }
    });
  } catch (error) {
    section.fail(error);
  }
}

navigator.serviceWorker?.register("service.js").catch((error) => console.warn(`no service worker: ${error.message}`));
await Promise.all([understand(), write()]);
