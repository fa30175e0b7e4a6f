/** The adapters of one model: chosen by name for the rows of a call, added and removed while other calls run. */

import type { Adapter } from "./adapter.js";
import { AdapterError, TaskError } from "./errors.js";
import { adaptersFor } from "./inputs.js";
import type { Manifest } from "./manifest.js";
import { listed, shown } from "./shown.js";

/** Adapters by name. */
export class AdapterSet {
  readonly byName: Map<string, Adapter>;

  constructor(
    private readonly manifest: Manifest,
    adapters: Iterable<Adapter>,
  ) {
    this.byName = new Map([...adapters].map((adapter) => [adapter.info.name, adapter]));
  }

  /** The adapter of calls that name none; null: the bare base. */
  get default(): string | null {
    return this.manifest.standalone ? this.manifest.standalone.name : this.manifest.defaultAdapter;
  }

  /** One more; throws AdapterError if its name is taken and `replace` is false. */
  add(adapter: Adapter, replace: boolean): void {
    const { name } = adapter.info;
    if (this.byName.has(name) && !replace) {
      throw new AdapterError(`an adapter ${shown(name)} is here already. Pass another name, or replace: true.`);
    }
    this.byName.set(name, adapter);
  }

  /** One less; throws AdapterError if it is not here, or if it is the bundle's default. */
  remove(name: string): void {
    if (!this.byName.has(name)) throw this.#unknown(name);
    if (name === this.default) {
      throw new AdapterError(
        `${shown(name)} is the bundle's default adapter. Keep it, or replace it.`,
      );
    }
    this.byName.delete(name);
  }

  /** One adapter per row; throws AdapterError for names that are not here. */
  chosen(choice: unknown, count: number): (Adapter | null)[] {
    return adaptersFor(choice, count).map((named) => {
      const name = named === undefined ? this.default : named;
      if (name === null) {
        if (!this.manifest.standalone) return null;
        throw new AdapterError(
          "a standalone bundle has its adapter folded in: it has no bare base. Leave adapter out.",
        );
      }
      const found = this.byName.get(name);
      if (found) return found;
      throw this.#unknown(name);
    });
  }

  #unknown(name: string): AdapterError {
    return new AdapterError(
      `no adapter ${shown(name)} here. Known: ${listed(this.byName.keys())}. Add one with addAdapter.`,
    );
  }

  /**
   * As `chosen`, of those that are for `task`.
   *
   * Throws AdapterError where the bare base is meant, TaskError for an adapter of another task.
   */
  withHeads(choice: unknown, count: number, task: "classify" | "regress"): Adapter[] {
    const found = this.chosen(choice, count);
    if (found.includes(null)) {
      const doing = task === "classify" ? "classifying" : "regression";
      throw new AdapterError(
        `${doing} needs an adapter: the base has no labels. Known: ${listed(this.byName.keys())}.`,
      );
    }
    this.refuseOtherTasks(found, task);
    return found as Adapter[];
  }

  /** Throws TaskError, naming the first that is for another task than `task`, and those that are for it. */
  refuseOtherTasks(adapters: readonly (Adapter | null)[], task: string): void {
    const other = adapters.find((adapter) => adapter && adapter.info.task !== task);
    if (!other) return;
    const fitting = [...this.byName].filter(([, x]) => x.info.task === task).map(([name]) => name);
    throw new TaskError(
      `the adapter ${shown(other.info.name)} is for ${shown(other.info.task)}, not ${task}. Of those here, ` +
        `${task}: ${listed(fitting)}.`,
    );
  }
}
