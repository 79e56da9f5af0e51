// The page: what the server says is shown, what people do is sent.

import {Connection} from "./connection.js";
import {$, answered, el, hex, percent, segments} from "./dom.js";
import {Keep} from "./keep.js";
import {Legend, showUnder} from "./legend.js";
import {PointsPane} from "./points.js";
import {SettingsPane} from "./settings.js";
import {Stage} from "./stage.js";
import {Timeline} from "./timeline.js";
import {Words} from "./words.js";

const LAYOUTS = [{name: "one", title: "One", hint: "One layer (O)"},
  {name: "wiper", title: "Wiper", hint: "Two layers under a wiper (W)"},
  {name: "beside", title: "Side by side", hint: "Camera, overlay and confidence (S)"}];
const LAYERS = [{name: "camera", title: "Camera", hint: "The picture itself (1)"},
  {name: "overlay", title: "Overlay", hint: "Labels over the picture (2)"},
  {name: "confidence", title: "Confidence", hint: "Probability of the winning class (3)"},
  {name: "heat", title: "Heat map", hint: "Probability of one word (4)"}];
const KEYS = [["/", "add a word"], ["Ctrl+Z, Ctrl+Shift+Z", "undo, redo"], ["1 2 3 4", "camera, overlay, confidence, heat map"],
  ["O W S", "one layer, wiper, side by side"], ["← →", "picture before, next"], ["Space", "play, pause"],
  ["P", "pin to compare, unpin"], ["X", "swap with the pinned"], ["Tab to the picture, arrows", "move the pointer; with Shift by one pixel"],
  ["in the words: Enter, Delete", "edit, remove"], ["B, H", "background, heat map"], ["Alt+↑ ↓", "move a word"],
  ["D", "dark or light"], ["?", "this list"]];

let state = null, header = null;
const connection = new Connection({state: showState, frame: takeFrame, under: reply => showUnder(reply, colourOf),
  open: () => { $("offline").hidden = true; },
  lost: () => {
    $("offline").hidden = false;
    $("offline").textContent = "No connection to the studio. It is tried again and again; if it has ended, start it in its terminal, and open the address that it prints.";
  }});
const points = new PointsPane({act});
const stage = new Stage({look, point: (x, y) => points.click(x, y)});
const words = new Words({act, light, heat: showHeat});
const legend = new Legend({light, heat: showHeat});
const settings = new SettingsPane({act});
const keep = new Keep();
const timeline = new Timeline({act});
const TABS = [["Legend", legend.pane], ["Settings", settings.pane], ["Points", points.pane], ["Keep", keep.pane]];

/** Carry a command out; a refusal is shown at its field. Resolves to whether it was taken. */
async function act(command) {
  clearErrors();
  try {
    await connection.command(command);
    return true;
  } catch (refusal) {
    refuse(refusal);
    return false;
  }
}

function refuse({field, message}) {
  if (settings.refuse(field, message)) choose("Settings");
  else if (field === "points") points.error.textContent = message;
  else if (field === "picture" || field === "sources" || field === "page" || field === "compare") {
    $("picture-error").textContent = message;
  } else $("words-error").textContent = message;
}

function clearErrors() {
  $("words-error").textContent = $("picture-error").textContent = points.error.textContent = "";
  settings.clear();
}

function showState(news) {
  state = news;
  $("title").textContent = state.title;
  words.show(state);
  settings.show(state);
  timeline.show(state);
  points.show(state);
  stage.set({points: state.points});
  keep.show();
  $("undo").disabled = !state.undo;
  $("redo").disabled = !state.redo;
  $("pin").hidden = $("tab-Points").hidden = state.live;
  $("pin").setAttribute("aria-pressed", String(Boolean(state.pinned)));
  const problem = state.problem;
  $("picture-error").textContent = problem && problem.field !== "points" ? problem.message : "";
  if (problem?.field === "points") points.error.textContent = problem.message;
  $("busy").hidden = !state.busy;
  $("busy").textContent = state.busy ? `${state.busy} …` : "";
  $("empty").hidden = Boolean(state.sources.length);
  $("stage").hidden = !state.sources.length;
  document.body.dataset.ready = "yes";
}

async function takeFrame(news, planes) {
  await stage.take(news, planes);
  header = news;
  legend.show(header);
  showCompared();
  if (stage.pointer) look(stage.original().x, stage.original().y);
}

function showCompared() {
  const shown = $("compared") ?? $("stage").parentElement.insertBefore(
    el("p", {id: "compared", className: "compared"}), $("stage"));
  shown.hidden = header.differ === null;
  if (header.differ === null) return;
  shown.replaceChildren(el("b", {}, percent(header.differ)), " of the pixels differ. Pinned: ",
    el("b", {}, `${header.pinned.ms.toFixed(0)} ms`), `, now: `, el("b", {}, `${header.ms.toFixed(0)} ms`),
    " a frame. ", el("button", {className: "small", onclick: () => act({do: "swap"})}, "Swap (X)"),
    el("button", {className: "small", onclick: () => act({do: "unpin"})}, "Unpin (P)"));
}

const colourOf = name => {
  const entry = header?.legend.find(other => other.name === name);
  return entry ? hex(entry.colour) : "#888";
};

/** Ask what is under the pointer; one question at a time. */
let asked = 0, next = null;
function look(x, y) {
  next = {x, y};
  if (performance.now() - asked < 40) {
    clearTimeout(look.timer);
    look.timer = setTimeout(() => look(next.x, next.y), 45);
    return;
  }
  asked = performance.now();
  connection.send({do: "under", x, y});
}

function light(name) {
  if (stage.layers.highlight === name) return;
  stage.layers.set({highlight: name});
  stage.draw();
}

function showHeat(name) {
  setView(stage.layout === "beside" ? {heat: name} : {heat: name, layer: "heat"});
}

function setView(changes) {
  stage.names = null;  // captions may change
  Object.assign(stage, changes);
  const wanted = stage.layer === "heat" || stage.layout === "beside";
  if (wanted && !stage.heat && state) {
    const best = header ? [...header.legend].sort((one, other) => other.coverage - one.coverage)[0] : null;
    stage.heat = (best ?? state.classes[0]).name;
  }
  connection.showHeat(wanted ? stage.heat : "");
  stage.draw();
  segments($("layouts"), LAYOUTS, stage.layout, layout => setView({layout}));
  segments($("layers"), LAYERS, stage.layer, layer => setView({layer}));
}

function choose(title) {
  for (const [name, pane] of TABS) {
    pane.hidden = name !== title;
    const tab = $(`tab-${name}`);
    tab.setAttribute("aria-selected", String(name === title));
    tab.tabIndex = name === title ? 0 : -1;
  }
  keep.show();
}

function buildTabs() {
  $("tabs").replaceChildren(...TABS.map(([name, pane], place) => {
    Object.assign(pane, {id: `pane-${name}`});
    pane.setAttribute("role", "tabpanel");
    pane.setAttribute("aria-labelledby", `tab-${name}`);
    return el("button", {role: "tab", id: `tab-${name}`, "aria-controls": `pane-${name}`,
      onclick: () => choose(name), onkeydown: event => {
        const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
        if (!step) return;
        event.stopPropagation();
        const [next] = TABS[(place + step + TABS.length) % TABS.length];
        choose(next);
        $(`tab-${next}`).focus();
      }}, name);
  }));
  $("panes").replaceChildren(...TABS.map(([, pane]) => pane));
  choose("Legend");
}

function buildEmpty() {
  const pick = el("input", {type: "file", accept: "image/*", multiple: true, className: "sr", id: "pick",
    onchange: event => sendPictures(event.target.files)});
  $("empty").replaceChildren(el("h2", {}, "Nothing to look at yet"),
    el("p", {}, "Drop a picture here, or choose one. Or start the studio with a folder, a film or a recording:"),
    el("code", {}, "sclip studio PICTURES"), el("label", {className: "button main", for: "pick"}, "Choose a picture"), pick);
  addEventListener("dragover", event => event.preventDefault());
  addEventListener("drop", event => {
    event.preventDefault();
    if (event.dataTransfer.files.length) sendPictures(event.dataTransfer.files);
  });
}

async function sendPictures(files) {
  for (const file of files) {
    const answer = await fetch(`/picture?name=${encodeURIComponent(file.name)}`, {method: "POST", body: file});
    if (!answer.ok) refuse(await answered(answer));
  }
}

function buildKeys() {
  $("keys").replaceChildren(el("h2", {}, "Keys"), el("table", {}, ...KEYS.map(([key, does]) =>
    el("tr", {}, el("th", {scope: "row"}, el("kbd", {}, key)), el("td", {}, does)))),
    el("form", {method: "dialog"}, el("button", {className: "main"}, "Close")));
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  try { localStorage.setItem("theme", name); } catch { /* a browser that keeps nothing */ }
}

function otherTheme() {
  theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
}

function pin() { act({do: state?.pinned ? "unpin" : "pin"}); }

const SHORTCUTS = {
  "/": () => $("add").focus(), "?": () => $("keys").showModal(), "1": () => setView({layer: "camera"}),
  "2": () => setView({layer: "overlay"}), "3": () => setView({layer: "confidence"}),
  "4": () => setView({layer: "heat"}), o: () => setView({layout: "one"}), w: () => setView({layout: "wiper"}),
  s: () => setView({layout: "beside"}), p: pin, x: () => act({do: "swap"}), d: otherTheme,
  ArrowLeft: () => timeline.step(-1), ArrowRight: () => timeline.step(1), " ": () => timeline.toggle(),
};

addEventListener("keydown", event => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    act({do: event.shiftKey ? "redo" : "undo"});
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const inField = event.target.matches("input:not([type=range]):not([type=checkbox]), textarea, select");
  const onButton = event.key === " " && event.target.matches("button, [role=switch], summary");
  const onSlider = event.key.startsWith("Arrow") && event.target.matches("input[type=range]");
  const does = SHORTCUTS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!does || inField || onButton || onSlider) return;
  event.preventDefault();
  does();
});

$("pin").addEventListener("click", pin);
$("undo").addEventListener("click", () => act({do: "undo"}));
$("redo").addEventListener("click", () => act({do: "redo"}));
$("theme").addEventListener("click", otherTheme);
$("help").addEventListener("click", () => $("keys").showModal());
$("alpha").addEventListener("input", event => { stage.layers.set({alpha: Number(event.target.value)}); stage.draw(); });

let kept = null;
try { kept = localStorage.getItem("theme"); } catch { /* a browser that keeps nothing */ }
theme(kept ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"));
buildTabs();
buildEmpty();
buildKeys();
setView({});
showUnder({}, colourOf);
fetch("/about.json").then(answer => answer.json()).then(about => {
  words.suggestions = about.suggestions;
  settings.build(about.settings);
  keep.build(about.forms);
  if (state) showState(state);
});
