// A section of the page: a model that is loaded with its progress, a choice of its tasks, figures and errors.
import { loadInWorker } from "edgetune-runtime/remote";

/** `302 kB`, `23.9 MB`. */
export function sized(bytes) {
  if (bytes < 999_500) return `${Math.max(1, Math.round(bytes / 1000))} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** `card_arrival` and `PlayMusic` as people write: `Card arrival`, `Play music`. */
export function readable(name) {
  const words = name.replace(/([a-z])([A-Z])/g, "$1 $2").replaceAll(/[_-]+/g, " ").trim().toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** An element with properties and children. */
export function made(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export class Section {
  constructor(id) {
    this.root = document.getElementById(id);
    this.form = this.find("form");
    this.input = this.find("form input");
    this.choices = this.find(".choices");
    this.bundle = id;
    this.figures = new Map();
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  /** The model in a bundle beside this page, and its size. An adapter that is refused is left out, and the page says so. */
  async loaded() {
    const began = performance.now();
    let size = 0;
    const onProgress = ({ loadedBytes, totalBytes }) => {
      size = totalBytes;
      this.find("progress").value = Math.min(1, loadedBytes / totalBytes);
      this.find(".bytes").textContent = `${(loadedBytes / 1e6).toFixed(1)} of ${sized(totalBytes)}`;
    };
    const worker = new Worker("worker.js", { type: "module" });
    const model = await this.#opened(worker, { onProgress });
    await model.warmUp();
    this.find("progress").hidden = true;
    this.find(".bytes").textContent = `${sized(size)}, ready after ${((performance.now() - began) / 1000).toFixed(1)} s`;
    for (const control of this.form.elements) control.disabled = false;
    const tasks = [...model.adapters.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    this.show("Base", sized(size - tasks));
    return model;
  }

  async #opened(worker, options) {
    try {
      return await loadInWorker(worker, this.bundle, options);
    } catch (error) {
      const { adapters } = await fetch(`${this.bundle}/bundle.json`).then((x) => x.json(), () => ({}));
      const names = Object.keys(adapters ?? {});
      const broken = names.filter((name) => error.message.includes(`/adapters/${name}.safetensors`));
      if (!broken.length) throw error;
      this.fail(error);
      return loadInWorker(worker, this.bundle, { ...options, adapters: names.filter((x) => !broken.includes(x)) });
    }
  }

  /** What went wrong, in the runtime's own words. */
  fail(error) {
    const alert = this.find(".error");
    alert.textContent = error.message;
    alert.hidden = false;
    this.find("progress").hidden = true;
  }

  /** A choice, with the bytes that it adds to the base. */
  offer({ name, title, bytes }, isChosen) {
    const radio = made("input", { type: "radio", name: `${this.bundle}-task`, value: name, checked: isChosen });
    const size = made("small", { textContent: bytes ? sized(bytes) : "the bare model" });
    this.choices.append(made("label", {}, radio, made("span", { textContent: title }), size));
    this.choices.hidden = false;
  }

  /** The chosen task; null: the base alone. */
  get task() {
    return this.choices.querySelector("input:checked")?.value || null;
  }

  /** Texts to try: a tap puts one in. */
  suggest(texts, onTap) {
    const buttons = texts.map((text) => {
      const button = made("button", { type: "button", textContent: text });
      button.addEventListener("click", () => {
        this.input.value = text;
        onTap();
      });
      return button;
    });
    this.find(".examples").replaceChildren(...buttons);
  }

  /** A figure by its name. */
  show(name, value) {
    this.figures.set(name, value);
    const pairs = [...this.figures].filter(([, x]) => x);
    this.find(".figures").replaceChildren(
      ...pairs.map(([key, x]) => made("div", {}, made("dt", { textContent: key }), made("dd", { textContent: x }))),
    );
  }
}
