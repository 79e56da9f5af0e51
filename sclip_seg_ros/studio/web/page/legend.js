// Who covers how much, how surely, and where the time went.

import {$, el, hex, percent, swatch} from "./dom.js";

const COLUMNS = [["name", "Class"], ["coverage", "Cover"], ["confidence", "Sure"]];
const STAGE_COLOURS = ["#4c9fd4", "#e69f00", "#2fb59a", "#cc79a7", "#d5c93a", "#8f7ee0", "#d55e00",
  "#8a98a8"];

export class Legend {
  constructor({light, heat}) {
    Object.assign(this, {light, heat});
    this.sort = "coverage";
    this.descending = true;
    this.body = el("tbody");
    this.heads = COLUMNS.map(([name, title]) => el("th", {scope: "col"}, el("button", {
      onclick: () => this.by(name)}, title)));
    this.times = el("div", {className: "times"});
    this.notes = el("div", {className: "notes"});
    this.status = el("dl", {className: "status"});
    this.pane = el("div", {className: "pane"},
      el("table", {className: "legend"}, el("thead", {}, el("tr", {}, ...this.heads)), this.body),
      this.notes, this.times, this.status);
  }

  by(name) {
    this.descending = this.sort === name ? !this.descending : name !== "name";
    this.sort = name;
    if (this.header) this.show(this.header);
  }

  show(header) {
    this.header = header;
    const rows = header.legend.map((entry, place) => ({...entry, place}));
    rows.sort((first, second) => {
      const order = this.sort === "name" ? first.name.localeCompare(second.name)
        : first[this.sort] - second[this.sort];
      return (this.descending ? -order : order) || first.place - second.place;
    });
    this.heads.forEach((head, place) => head.setAttribute("aria-sort",
      COLUMNS[place][0] !== this.sort ? "none" : this.descending ? "descending" : "ascending"));
    this.body.replaceChildren(...rows.map(entry => el("tr", {data: {name: entry.name},
      className: entry.coverage ? "" : "absent",
      onmouseenter: () => this.light(entry.name), onmouseleave: () => this.light(null)},
      el("td", {}, el("button", {title: "Heat map of this class", onclick: () => this.heat(entry.name),
        onfocus: () => this.light(entry.name), onblur: () => this.light(null)},
        swatch(hex(entry.colour)), el("span", {}, entry.name))),
      this.bar(entry.coverage), el("td", {}, entry.coverage ? entry.confidence.toFixed(2) : "–"))),
      header.unlabelled ? el("tr", {className: "none"}, el("td", {}, "no class"),
        this.bar(header.unlabelled), el("td", {}, "–")) : "");
    this.notes.replaceChildren(...header.notes.map(note => el("p", {className: "note"}, note)));
    this.showTimes(header);
    this.status.replaceChildren(...Object.entries(header.status).flatMap(([name, value]) =>
      [el("dt", {}, name), el("dd", {}, value)]));
  }

  bar(share) {
    const fill = el("i");
    fill.style.width = `${100 * share}%`;
    return el("td", {className: "share"}, el("span", {}, percent(share)), el("b", {}, fill));
  }

  showTimes(header) {
    const stages = Object.entries(header.stage_ms);
    const strip = el("div", {className: "strip", role: "img", "aria-label":
      stages.map(([name, ms]) => `${name} ${ms.toFixed(0)} ms`).join(", ")});
    const list = el("ul");
    stages.forEach(([name, ms], place) => {
      const colour = STAGE_COLOURS[place % STAGE_COLOURS.length];
      const part = el("i", {title: `${name}: ${ms.toFixed(1)} ms`});
      part.style.flexGrow = ms;
      part.style.background = colour;
      strip.append(part);
      list.append(el("li", {}, swatch(colour), `${name} ${ms.toFixed(ms < 10 ? 1 : 0)}`,
        header.kept.includes(name) ? el("small", {}, " kept") : null));
    });
    this.times.replaceChildren(el("h3", {}, `${header.ms.toFixed(0)} ms a frame`,
      header.kept.length ? el("small", {}, "  tower's work kept from before") : null), strip, list);
    this.times.hidden = !stages.length;
  }
}

/** The words under the pointer. */
export function showUnder(reply, colourOf) {
  if (!reply.words?.length) {
    $("under").replaceChildren(el("p", {className: "muted"}, reply.message
      ?? (reply.x === undefined ? "Point at the picture to see what it might be."
        : "This node publishes no probabilities here.")));
    return;
  }
  $("under").replaceChildren(
    el("p", {className: "where"}, `(${reply.x}, ${reply.y})`, el("b", {}, reply.label ?? "no class")),
    el("ol", {}, ...reply.words.map(({name, probability}) => {
      const fill = el("i");
      fill.style.width = `${100 * probability}%`;
      fill.style.background = colourOf(name);
      return el("li", {}, el("span", {}, name), el("b", {}, probability.toFixed(3)),
        el("s", {}, fill));
    })));
}
