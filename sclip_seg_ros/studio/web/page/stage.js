// The picture: one layer, two under a wiper, or several side by side; the pointer in it.

import {GRADIENT, Layers} from "./layers.js";
import {$, el} from "./dom.js";

const TITLES = {camera: "Camera", overlay: "Overlay", confidence: "Confidence", heat: "Heat map",
  pinned: "Pinned"};

export class Stage {
  /** `look(x, y)` is called with the pixel under the pointer, `point(x, y)` when it is clicked. */
  constructor({look, point}) {
    this.layers = new Layers();
    this.layout = "wiper";
    this.layer = "overlay";
    this.heat = "";
    this.wiper = 0.5;
    this.pointer = null;
    this.points = [];
    this.callbacks = {look, point};
    this.holder = $("stage");
    this.holder.addEventListener("keydown", event => this.key(event));
    this.panes = [];
  }

  async take(header, planes) {
    const before = `${this.layers.width}x${this.layers.height}`;
    await this.layers.take(header, planes);
    if (before !== `${this.layers.width}x${this.layers.height}`) this.panes = [];
    this.draw();
    document.body.dataset.serial = header.serial;
  }

  set(changes) {
    Object.assign(this, changes);
    this.draw();
  }

  /** Return which layers the panes show: a list, each one layer or two under the wiper. */
  plan() {
    const comparing = Boolean(this.layers.pinned);
    if (this.layout === "beside") {
      const shown = comparing ? ["pinned", "overlay"] : ["camera", "overlay", "confidence"];
      if (this.heat) shown.push("heat");
      return shown.map(name => [name]);
    }
    if (this.layout === "wiper") {
      const left = comparing && this.layer === "overlay" ? "pinned" : "camera";
      if (left !== this.layer) return [[left, this.layer]];
    }
    return [[this.layer]];
  }

  draw() {
    const {layers} = this;
    if (!layers.header || !layers.camera) return;
    const plan = this.plan();
    const names = JSON.stringify(plan);
    if (this.names !== names || this.panes.length !== plan.length) {
      this.names = names;
      this.panes = plan.map(parts => this.pane(parts));
      this.holder.replaceChildren(...this.panes.map(pane => pane.figure));
      this.holder.dataset.panes = plan.length;
    }
    for (const pane of this.panes) this.paint(pane);
  }

  pane(parts) {
    const canvas = el("canvas", {width: this.layers.width, height: this.layers.height});
    const caption = el("figcaption", {}, parts.map(name => this.title(name)).join("  |  "));
    if (parts.some(name => name === "confidence" || name === "heat")) {
      const key = el("span", {className: "scale"}, el("i"), "0 … 1");
      key.firstChild.style.background = GRADIENT;
      caption.append(key);
    }
    const figure = el("figure", {data: {layers: parts.join("-")}}, canvas, caption);
    const pane = {parts, canvas, figure, caption};
    let dragging = false;
    const place = event => this.place(event, canvas);
    canvas.addEventListener("pointerdown", event => {
      const at = place(event);
      if (!at) return;
      const near = Math.abs(at.x / this.layers.width - this.wiper) * canvas.clientWidth < 14;
      dragging = parts.length === 2 && near;
      if (dragging) canvas.setPointerCapture(event.pointerId);
      else this.moveTo(at.x, at.y, true);
    });
    canvas.addEventListener("pointermove", event => {
      const at = place(event);
      if (!at) return;
      if (dragging) this.set({wiper: at.x / this.layers.width});
      else this.moveTo(at.x, at.y);
    });
    canvas.addEventListener("pointerup", () => { dragging = false; });
    if (parts.length === 2) {
      figure.append(el("input", {type: "range", className: "wiper", min: 0, max: 1, step: 0.01,
        value: this.wiper, "aria-label": `Wiper between ${parts.map(name => TITLES[name]).join(" and ")}`,
        oninput: event => this.set({wiper: Number(event.target.value)})}));
    }
    return pane;
  }

  title(name) {
    return name === "heat" && this.heat ? `Heat map: ${this.heat}` : TITLES[name];
  }

  paint({parts, canvas}) {
    const context = canvas.getContext("2d");
    const {width, height} = canvas;
    context.drawImage(this.layers.of(parts[0]), 0, 0);
    const unit = Math.max(1, width / 700);
    if (parts.length === 2) {
      const x = Math.round(this.wiper * width);
      if (x < width) {
        context.drawImage(this.layers.of(parts[1]), x, 0, width - x, height, x, 0, width - x, height);
      }
      context.fillStyle = "#fff";
      context.fillRect(x - unit, 0, 2 * unit, height);
      context.beginPath();
      context.arc(x, height / 2, 9 * unit, 0, 7);
      context.fill();
      context.fillStyle = "#1a2430";
      context.font = `${13 * unit}px sans-serif`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillText("↔", x, height / 2 + unit);
    }
    const scale = width / this.layers.header.size[0];
    for (const {x, y, right} of this.points) {
      context.beginPath();
      context.arc((x + 0.5) * scale, (y + 0.5) * scale, 5 * unit, 0, 7);
      context.lineWidth = 2 * unit;
      context.strokeStyle = "#000";
      context.stroke();
      context.fillStyle = right ? "#fff" : "#ffb000";
      context.fill();
      if (!right) {
        context.fillStyle = "#000";
        context.font = `bold ${9 * unit}px sans-serif`;
        context.textAlign = "center";
        context.textBaseline = "middle";
        context.fillText("×", (x + 0.5) * scale, (y + 0.5) * scale);
      }
    }
    if (this.pointer) {
      const x = this.pointer.x + 0.5, y = this.pointer.y + 0.5;
      for (const [colour, thick] of [["#000", 3 * unit], ["#fff", unit]]) {
        context.strokeStyle = colour;
        context.lineWidth = thick;
        context.beginPath();
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          context.moveTo(x + 4 * unit * dx, y + 4 * unit * dy);
          context.lineTo(x + 12 * unit * dx, y + 12 * unit * dy);
        }
        context.stroke();
      }
    }
  }

  /** Return the pixel of the shown picture under an event; null beside it. */
  place(event, canvas) {
    const box = canvas.getBoundingClientRect();  // with the margins that keep its proportions
    const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
    const x = Math.floor((event.clientX - box.left - box.width / 2) / scale + canvas.width / 2);
    const y = Math.floor((event.clientY - box.top - box.height / 2) / scale + canvas.height / 2);
    return x >= 0 && y >= 0 && x < canvas.width && y < canvas.height ? {x, y} : null;
  }

  /** Move the pointer to a pixel of the shown picture. */
  moveTo(x, y, click = false) {
    this.pointer = {x, y};
    this.draw();
    const {x: left, y: top} = this.original();
    if (click) this.callbacks.point(left, top);
    this.callbacks.look(left, top);
  }

  /** Return the pixel of the picture itself that the pointer is on. */
  original() {
    const [width, height] = this.layers.header.size;
    return {x: Math.min(width - 1, Math.floor((this.pointer.x + 0.5) * width / this.layers.width)),
      y: Math.min(height - 1, Math.floor((this.pointer.y + 0.5) * height / this.layers.height))};
  }

  key(event) {
    const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (!this.layers.header || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.pointer ?? {x: this.layers.width >> 1, y: this.layers.height >> 1};
    if (way) {
      const step = event.shiftKey ? 1 : Math.max(1, Math.round(this.layers.width / 64));
      this.moveTo(Math.max(0, Math.min(this.layers.width - 1, at.x + step * way[0])),
        Math.max(0, Math.min(this.layers.height - 1, at.y + step * way[1])));
    } else if (event.key === "Enter") {
      this.moveTo(at.x, at.y, true);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }
}
