// Which picture, and the time line of films and recordings.

import {$, el} from "./dom.js";

export class Timeline {
  constructor({act}) {
    this.act = act;
    this.play = el("button", {className: "icon", id: "play", onclick: () => this.toggle()}, "▶");
    this.before = el("button", {className: "icon", "aria-label": "Picture before", title: "Before (←)",
      onclick: () => this.step(-1)}, "‹");
    this.after = el("button", {className: "icon", "aria-label": "Next picture", title: "Next (→)",
      onclick: () => this.step(1)}, "›");
    this.slider = el("input", {type: "range", min: 0, step: 1, "aria-label": "Place in the source",
      id: "place", oninput: event => this.go(Number(event.target.value))});
    this.name = el("span", {className: "frame"});
    $("timeline").append(this.before, this.play, this.after, this.slider, this.name);
    $("source").addEventListener("change", event =>
      this.act({do: "go", source: Number(event.target.value), index: 0}));
  }

  show(state) {
    this.state = state;
    const source = state.sources[state.source];
    const names = state.sources.map(entry => `${entry.name}${entry.count > 1 ? ` (${entry.count})` : ""}`);
    if (JSON.stringify(names) !== this.names) {
      this.names = JSON.stringify(names);
      $("source").replaceChildren(...names.map((name, place) => el("option", {value: place}, name)));
    }
    $("source").value = state.source;
    $("source").parentElement.hidden = !names.length;
    $("timeline").hidden = !source || source.count < 2;
    if (!source) return;
    this.play.hidden = !source.moving;
    this.play.textContent = state.playing ? "❚❚" : "▶";
    this.play.setAttribute("aria-label", state.playing ? "Pause" : "Play");
    this.play.title = state.playing ? "Pause (Space)" : "Play (Space)";
    this.slider.max = source.count - 1;
    if (!this.sending) this.slider.value = state.index;
    const clock = source.moving ? `${(state.index / source.rate).toFixed(1)} s, ` : "";
    this.name.textContent = `${state.frame}  ${clock}${state.index + 1} of ${source.count}`;
  }

  toggle() {
    if (this.state?.sources[this.state.source]?.moving) {
      this.act({do: "play", on: !this.state.playing});
    }
  }

  step(by) {
    const source = this.state?.sources[this.state.source];
    if (!source) return;
    const index = Math.max(0, Math.min(source.count - 1, this.state.index + by));
    if (index !== this.state.index) this.go(index);
  }

  /** Go to a frame; while the slider moves one command at a time, the newest wins. */
  async go(index) {
    this.wanted = index;
    if (this.sending) return;
    this.sending = true;
    while (this.wanted !== null) {
      const next = this.wanted;
      this.wanted = null;
      await this.act({do: "go", source: this.state.source, index: next});
    }
    this.sending = false;
  }
}
