// Words as chips, and a field that suggests those of the shipped vocabularies.

import {$, el} from "./dom.js";

const MOST_SHOWN = 40;

export class Words {
  /** `act(command, element)` carries a command out; `light(name)` and `heat(name)` show a class. */
  constructor({act, light, heat}) {
    Object.assign(this, {act, light, heat});
    this.suggestions = [];
    this.classes = [];
    this.editing = null;
    this.focused = null;
    this.input = $("add");
    this.list = $("suggestions");
    this.input.addEventListener("input", () => this.suggest());
    this.input.addEventListener("focus", () => this.suggest());
    this.input.addEventListener("blur", () => setTimeout(() => this.close(), 150));
    this.input.addEventListener("keydown", event => this.key(event));
    this.input.addEventListener("paste", event => {
      const text = event.clipboardData.getData("text");
      if (!text.includes("\n")) return;
      event.preventDefault();
      this.add(text);
    });
    $("colours").addEventListener("click", () => this.act(
      {do: "colours", how: this.classes.some(entry => entry.chosen) ? "by-name" : "distinct"}));
  }

  show(state) {
    this.classes = state.classes;
    this.background = state.background;
    $("count").textContent = state.classes.length;
    $("colours").textContent = state.classes.some(entry => entry.chosen)
      ? "Own colours" : "Distinct colours";
    if (this.editing) return;  // what somebody types stays
    const inside = $("chips").contains(document.activeElement);
    $("chips").replaceChildren(...state.classes.map((entry, place) => this.chip(entry, place)));
    if (inside) this.focus(this.focused);
  }

  focus(name) {
    const chips = [...$("chips").children];
    (chips.find(chip => chip.dataset.name === name) ?? chips[0])?.querySelector(".name").focus();
  }

  chip(entry, place) {
    const synonyms = entry.synonyms.slice(1);
    const isBackground = this.background.toLowerCase() === entry.name.toLowerCase() && this.background;
    const pick = el("input", {type: "color", value: entry.colour, title: `Colour of ${entry.name}`,
      "aria-label": `Colour of ${entry.name}`, tabIndex: -1,
      onchange: event => this.act({do: "colour", name: entry.name, colour: event.target.value})});
    const name = el("button", {className: "name", title: "Edit word and synonyms (Enter)",
      onclick: () => this.edit(entry), onkeydown: event => this.chipKey(event, entry, place),
      onfocus: () => { this.focused = entry.name; this.light(entry.name); },
      onblur: () => this.light(null)},
      entry.name,
      synonyms.length ? el("small", {}, ` ${synonyms.join(", ")}`) : null,
      isBackground ? el("em", {className: "tag"}, "background") : null,
      entry.unknown.length ? el("em", {className: "tag warn",
        title: `The model knows nothing of ${entry.unknown.join(", ")}; labels of it mean nothing`},
        "unknown") : null);
    const button = (label, title, onclick, on) => el("button", {className: "tiny", tabIndex: -1,
      "aria-label": `${title}: ${entry.name}`, title, "aria-pressed": on, onclick}, label);
    return el("li", {className: "chip", draggable: true, data: {name: entry.name},
      onmouseenter: () => this.light(entry.name), onmouseleave: () => this.light(null),
      ondragstart: event => event.dataTransfer.setData("text/plain", entry.name),
      ondragover: event => event.preventDefault(),
      ondrop: event => {
        event.preventDefault();
        const moved = event.dataTransfer.getData("text/plain");
        if (moved !== entry.name && this.classes.some(other => other.name === moved)) {
          this.act({do: "move", name: moved, place});
        }
      }}, pick, name,
      button("◉", "Heat map (H)", () => this.heat(entry.name)),
      button("▣", "Background (B)", () => this.toggleBackground(entry), String(Boolean(isBackground))),
      button("×", "Remove (Delete)", () => this.remove(entry, place)));
  }

  chipKey(event, entry, place) {
    if (event.ctrlKey || event.metaKey) return;
    const move = {ArrowUp: -1, ArrowDown: 1}[event.key];
    if (move && event.altKey) this.act({do: "move", name: entry.name, place: place + move});
    else if (move) {
      const next = this.classes[Math.max(0, Math.min(this.classes.length - 1, place + move))];
      this.focus(next.name);
    } else if (event.key === "Delete" || event.key === "Backspace") this.remove(entry, place);
    else if (event.key.toLowerCase() === "b") this.toggleBackground(entry);
    else if (event.key.toLowerCase() === "h") this.heat(entry.name);
    else if (event.key === "F2") this.edit(entry);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  remove(entry, place) {
    this.focused = (this.classes[place + 1] ?? this.classes[place - 1])?.name;
    this.act({do: "remove", name: entry.name});
  }

  toggleBackground(entry) {
    const on = this.background.toLowerCase() === entry.name.toLowerCase();
    this.act({do: "background", name: on ? "" : entry.name});
  }

  edit(entry) {
    const chip = [...$("chips").children].find(other => other.dataset.name === entry.name);
    if (!chip || this.editing) return;
    this.editing = entry.name;
    let ended = false;
    const end = async keep => {
      if (ended) return;
      ended = true;
      this.editing = null;
      if (keep && field.value.trim() !== entry.text) {
        this.focused = field.value.split("|")[0].trim();
        await this.act({do: "rename", name: entry.name, text: field.value});
      }
      this.show({classes: this.classes, background: this.background});
      this.focus(this.focused);
    };
    const field = el("input", {type: "text", className: "edit", value: entry.text, spellcheck: false,
      "aria-label": `Word and synonyms of ${entry.name}, separated by |`,
      onkeydown: event => {
        event.stopPropagation();
        if (event.key === "Enter") end(true);
        else if (event.key === "Escape") end(false);
      },
      onblur: () => end(true)});
    chip.draggable = false;
    chip.querySelector(".name").replaceWith(field);
    field.focus();
    field.select();
  }

  async add(text) {
    if (!text.trim()) return;
    if (await this.act({do: "add", text})) {
      this.input.value = "";
      this.close();
      $("chips").lastElementChild?.scrollIntoView({block: "nearest"});
    }
  }

  suggest() {
    const wanted = this.input.value.trim().toLowerCase();
    const used = new Set(this.classes.flatMap(entry => entry.synonyms.map(word => word.toLowerCase())));
    const free = this.suggestions.filter(({text}) => !used.has(text.split("|")[0].toLowerCase()));
    const begin = free.filter(({text}) => text.toLowerCase().startsWith(wanted));
    const inside = free.filter(({text}) => text.toLowerCase().indexOf(wanted) > 0);
    const found = wanted ? [...begin, ...inside].slice(0, MOST_SHOWN) : [];
    this.chosen = -1;
    this.list.replaceChildren(...found.map(({text, from}, place) => el("li", {
      role: "option", id: `suggestion-${place}`, "aria-selected": "false", data: {text},
      onpointerdown: event => { event.preventDefault(); this.add(text); },
    }, text, el("small", {}, from))));
    this.list.hidden = !found.length;
    this.input.setAttribute("aria-expanded", String(Boolean(found.length)));
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  key(event) {
    event.stopPropagation();
    const options = [...this.list.children];
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (step && options.length && !this.list.hidden) {
      event.preventDefault();
      this.chosen = (this.chosen + step + options.length + (this.chosen < 0 && step < 0 ? 1 : 0))
        % options.length;
      options.forEach((option, place) =>
        option.setAttribute("aria-selected", String(place === this.chosen)));
      options[this.chosen].scrollIntoView({block: "nearest"});
      this.input.setAttribute("aria-activedescendant", options[this.chosen].id);
    } else if (event.key === "Enter") {
      this.add(this.list.hidden ? this.input.value
        : options[this.chosen]?.dataset.text ?? this.input.value);
    } else if (event.key === "Escape") {
      if (this.list.hidden) this.input.blur();
      this.close();
    } else if (event.key === "ArrowDown") {
      this.focus(this.classes[0]?.name);
    }
  }
}
