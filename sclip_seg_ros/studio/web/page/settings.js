// A field for every setting, made from its own description.

import {el} from "./dom.js";

const OPEN = new Set(["Decision"]);
const ORDER = ["Decision", "Stages", "Features", "Time", "Node alone"];

export class SettingsPane {
  /** `act(command)` carries a command out; it resolves to whether it was taken. */
  constructor({act}) {
    this.act = act;
    this.rows = new Map();
    this.sections = el("div");
    this.find = el("input", {type: "search", placeholder: "Find a setting", "aria-label": "Find a setting",
      oninput: () => this.filter(), onkeydown: event => event.stopPropagation()});
    this.pane = el("div", {className: "pane"}, this.find, this.sections);
  }

  build(settings, live) {
    this.settings = settings.filter(setting => live || setting.section !== "Node alone" || true);
    const sections = new Map(ORDER.map(name => [name, []]));
    for (const setting of this.settings) {
      if (!sections.has(setting.section)) sections.set(setting.section, []);
      sections.get(setting.section).push(this.row(setting));
    }
    this.sections.replaceChildren(...[...sections].filter(([, rows]) => rows.length).map(
      ([name, rows]) => el("details", {open: OPEN.has(name), data: {section: name}},
        el("summary", {}, name), ...rows)));
  }

  row(setting) {
    const id = `set-${setting.name}`;
    const parts = this.field(setting, id);
    const error = el("p", {className: "error", role: "alert", id: `${id}-error`});
    const reset = el("button", {className: "tiny reset", hidden: true, title: "Back to the default",
      "aria-label": `Default of ${setting.name}`, onclick: () => this.send(setting, setting.default)}, "↺");
    const unit = setting.unit && setting.unit !== "milliseconds" ? ` (${setting.unit})` : setting.unit ? " (ms)" : "";
    const line = el("div", {className: "setting", data: {name: setting.name, kind: setting.kind}},
      el("label", {for: id}, setting.name + unit), reset, el("span", {className: "field"}, ...parts),
      el("p", {className: "about"}, setting.description), error);
    this.rows.set(setting.name, {setting, line, parts, error, reset});
    return line;
  }

  field(setting, id) {
    const common = {id, "aria-describedby": `${id}-error`,
      onkeydown: event => { if (!event.ctrlKey && !event.metaKey) event.stopPropagation(); }};
    const changed = read => event => this.send(setting, read(event.target));
    if (setting.kind === "switch") {
      return [el("input", {...common, type: "checkbox", role: "switch",
        onchange: changed(input => input.checked)})];
    }
    if (setting.kind === "choice") {
      return [el("select", {...common, onchange: changed(input => input.value)},
        ...setting.choices.map(choice => el("option", {value: choice}, choice)))];
    }
    if (setting.kind === "text" || setting.kind === "numbers") {
      return [el("input", {...common, type: "text", onchange: changed(input => setting.kind === "text"
        ? input.value : input.value.split(",").map(part => Number(part.trim())))})];
    }
    const step = setting.kind === "whole" ? 1 : "any";
    const typed = el("input", {...common, type: "number", min: setting.low, max: setting.high, step,
      onchange: changed(input => Number(input.value))});
    if (setting.high > 1 || setting.kind === "whole") return [typed];
    const slider = el("input", {type: "range", min: setting.low, max: setting.high, step: 0.005,
      "aria-label": setting.name, tabIndex: 0,
      oninput: event => { typed.value = event.target.value; this.drag(setting, Number(event.target.value)); },
      onchange: event => this.drag(setting, Number(event.target.value), true)});
    return [typed, slider];
  }

  async send(setting, value, drag = false) {
    const row = this.rows.get(setting.name);
    row.error.textContent = "";
    const taken = await this.act({do: "set", values: {[setting.name]: value}, drag});
    if (!taken && this.state) this.fill(row, this.state, true);
    return taken;
  }

  /** Follow a slider: one command at a time, the newest value wins. */
  async drag(setting, value, last = false) {
    this.wanted = value;
    if (this.sending) return;
    this.sending = true;
    try {
      while (this.wanted !== null) {
        const next = this.wanted;
        this.wanted = null;
        if (next !== this.state?.settings[setting.name]) await this.send(setting, next, true);
      }
    } finally {
      this.sending = false;
    }
  }

  show(state) {
    this.state = state;
    const changed = new Set(state.changed);
    for (const [name, row] of this.rows) {
      this.fill(row, state);
      row.reset.hidden = !changed.has(name);
      row.line.classList.toggle("changed", changed.has(name));
    }
    this.filter();
  }

  fill({setting, parts}, state, anyway = false) {
    const value = state.settings[setting.name];
    for (const part of parts) {
      const typing = part === document.activeElement && ["text", "number"].includes(part.type);
      if (typing && !anyway && part.dataset.shown === String(value)) continue;
      if (part.type === "checkbox") part.checked = value;
      else if (!(part.type === "range" && this.sending)) {
        part.value = Array.isArray(value) ? value.join(", ") : value;
      }
      part.dataset.shown = String(value);
    }
  }

  refuse(name, message) {
    const row = this.rows.get(name);
    if (!row) return false;
    row.error.textContent = message;
    row.line.closest("details").open = true;
    row.line.hidden = false;
    return true;
  }

  clear() {
    for (const {error} of this.rows.values()) error.textContent = "";
  }

  filter() {
    const wanted = this.find.value.trim().toLowerCase();
    for (const {setting, line} of this.rows.values()) {
      const off = setting.needs && !this.state?.settings[setting.needs];
      line.hidden = wanted
        ? !`${setting.name} ${setting.description}`.toLowerCase().includes(wanted) : Boolean(off);
    }
    for (const section of this.sections.children) {
      const any = [...section.querySelectorAll(".setting")].some(line => !line.hidden);
      section.hidden = !any;
      if (wanted && any) section.open = true;
    }
  }
}
