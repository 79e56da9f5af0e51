// Pixels that people name, and how many of them the present words get right.

import {el, swatch} from "./dom.js";

export class PointsPane {
  constructor({act}) {
    this.act = act;
    this.word = el("select", {id: "point-word", "aria-label": "Word of the next point"});
    this.here = el("p", {className: "score", id: "points-here"});
    this.all = el("p", {className: "score", id: "points-all"});
    this.words = el("table", {className: "legend"});
    this.list = el("ul", {className: "points"});
    this.error = el("p", {className: "error", role: "alert", id: "points-error"});
    this.pane = el("div", {className: "pane"},
      el("p", {className: "about"}, "While this is open, a click on the picture says: this is"),
      el("div", {className: "row"}, this.word),
      el("p", {className: "about"}, "A click on a point takes it away. White points are right, orange ones with a cross are wrong."),
      this.error, this.here, this.list,
      el("div", {className: "row"},
        el("button", {className: "main", id: "count-all", onclick: () => this.act({do: "count"})}, "Count all pictures"),
        el("a", {className: "button", href: "/points.json", download: "points.json"}, "Save points.json")),
      this.all, this.words);
  }

  get open() { return !this.pane.hidden; }

  click(x, y) {
    if (this.open) this.act({do: "point", x, y, word: this.word.value});
  }

  show(state) {
    const names = state.classes.map(entry => entry.name);
    if (JSON.stringify(names) !== this.names) {
      const before = this.word.value;
      this.names = JSON.stringify(names);
      this.word.replaceChildren(...names.map(name => el("option", {value: name}, name)));
      if (names.includes(before)) this.word.value = before;
    }
    const colours = new Map(state.classes.flatMap(entry =>
      entry.synonyms.map(word => [word.toLowerCase(), entry.colour])));
    const right = state.points.filter(point => point.right).length;
    this.here.textContent = state.points.length ? `${right} of ${state.points.length} right in this picture`
      : "No points in this picture yet.";
    this.list.replaceChildren(...state.points.map(({x, y, word, right: good}, place) => el("li", {},
      swatch(colours.get(word.toLowerCase()) ?? "transparent"), el("span", {}, word),
      el("small", {}, `(${x}, ${y})`), el("b", {className: good ? "right" : "wrong"}, good ? "right" : "wrong"),
      el("button", {className: "tiny", title: "Remove", "aria-label": `Remove the point ${word} at ${x}, ${y}`,
        onclick: () => this.act({do: "unpoint", place})}, "×"))));
    const counted = state.counted;
    this.all.textContent = !counted ? "" : `${counted.right} of ${counted.total} right in all pictures`
      + `${counted.done ? ` (${(100 * counted.right / counted.total).toFixed(1)} %)` : " so far …"}`;
    this.words.replaceChildren(...Object.entries(counted?.words ?? {}).map(([word, [good, total]]) =>
      el("tr", {}, el("td", {}, word), el("td", {}, `${good} of ${total}`))));
  }
}
