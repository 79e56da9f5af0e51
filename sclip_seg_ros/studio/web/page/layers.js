// What is painted of a frame: camera, overlay, confidence, heat map; each on a canvas of its own.

const NONE = 255;
// Viridis, sampled; its lightness rises evenly, whatever colours a person sees.
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779",
  "#6ece58", "#b5de2b", "#fde725"];

export class Layers {
  constructor() {
    this.header = null;
    this.camera = null;
    this.alpha = 0.5;
    this.highlight = null;
    this.painted = new Map();
  }

  /** Take a frame; planes that did not come are those of before. */
  async take(header, planes) {
    const decoded = {};
    await Promise.all(Object.entries(planes).map(async ([name, blob]) => {
      decoded[name] = await createImageBitmap(blob,
        {colorSpaceConversion: "none", premultiplyAlpha: "none"});
    }));
    this.camera = decoded.camera ?? this.camera;
    this.labels = grey(decoded.labels);
    this.confidence = decoded.confidence;
    this.heat = decoded.heat ?? null;
    this.pinned = decoded.pinned ? grey(decoded.pinned) : null;
    this.header = header;
    this.painted.clear();
  }

  get width() { return this.camera?.width ?? 0; }
  get height() { return this.camera?.height ?? 0; }

  set(changes) {
    Object.assign(this, changes);
    for (const name of ["overlay", "pinned"]) this.painted.delete(name);
  }

  /** Return a canvas with one layer. */
  of(name) {
    if (name === "camera" || !this.header) return this.camera;
    if (!this.painted.has(name)) this.painted.set(name, this.paint(name));
    return this.painted.get(name);
  }

  paint(name) {
    if (name === "confidence") return coloured(this.confidence, this.width, this.height);
    if (name === "heat") return this.paintHeat();
    return name === "pinned" && this.pinned
      ? this.paintLabels(this.pinned, this.header.pinned.legend)
      : this.paintLabels(this.labels, this.header.legend);
  }

  paintLabels(labels, legend) {
    const {canvas, context} = blank(this.width, this.height);
    context.drawImage(this.camera, 0, 0);
    const image = context.getImageData(0, 0, this.width, this.height);
    const pixels = image.data;
    const {data, width, height} = labels;
    const lit = this.highlight === null ? -1
      : legend.findIndex(entry => entry.name === this.highlight);
    const shares = new Float32Array(256).fill(0);
    const table = new Uint8Array(3 * 256);
    legend.forEach((entry, index) => {
      table.set(entry.colour, 3 * index);
      shares[index] = lit < 0 ? this.alpha : index === lit ? Math.max(0.55, this.alpha) : 0;
    });
    const dim = lit < 0 ? 1 : 0.35;
    const white = Math.min(1, 2 * this.alpha) * 0.7;
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const label = data[at], share = shares[label], place = 4 * at;
        const rest = (1 - share) * (lit < 0 || label === lit ? 1 : dim);
        const edge = (x + 1 < width && data[at + 1] !== label)
          || (y + 1 < height && data[at + width] !== label);
        for (let part = 0; part < 3; part++) {
          let value = pixels[place + part] * rest + table[3 * label + part] * share;
          if (edge) value = value * (1 - white) + 255 * white;
          pixels[place + part] = value;
        }
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  paintHeat() {
    const {canvas, context} = blank(this.width, this.height);
    context.filter = "grayscale(1) brightness(0.55)";
    context.drawImage(this.camera, 0, 0);
    context.filter = "none";
    if (this.heat) {
      context.globalAlpha = 0.78;
      context.drawImage(coloured(this.heat, this.width, this.height), 0, 0);
    }
    return canvas;
  }

  /** Return the name of the label at a pixel of the shown picture; null for none. */
  labelAt(x, y) {
    const label = this.labels.data[y * this.labels.width + x];
    return label === NONE ? null : this.header.legend[label]?.name ?? null;
  }
}

function blank(width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, {width, height});
  return {canvas, context: canvas.getContext("2d", {willReadFrequently: true})};
}

/** Return the values of a grey picture, exactly. */
function grey(bitmap) {
  const {context} = blank(bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  const data = new Uint8Array(bitmap.width * bitmap.height);
  for (let at = 0; at < data.length; at++) data[at] = rgba[4 * at];
  return {data, width: bitmap.width, height: bitmap.height};
}

/** Return a grey picture in the colours of a scale, at a size. */
function coloured(bitmap, width, height) {
  const {canvas, context} = blank(width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height);
  for (let place = 0; place < image.data.length; place += 4) {
    image.data.set(SCALE.subarray(3 * image.data[place], 3 * image.data[place] + 3), place);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const SCALE = (() => {
  const stops = VIRIDIS.map(text => [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16)));
  const table = new Uint8Array(3 * 256);
  for (let value = 0; value < 256; value++) {
    const place = value / 255 * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2), share = place - low;
    for (let part = 0; part < 3; part++) {
      table[3 * value + part] = stops[low][part] * (1 - share) + stops[low + 1][part] * share;
    }
  }
  return table;
})();

/** CSS gradient of the scale, for its key. */
export const GRADIENT = `linear-gradient(90deg, ${VIRIDIS.join(", ")})`;
