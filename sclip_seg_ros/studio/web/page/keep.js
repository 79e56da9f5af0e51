// Export and import.

import {answered, el} from "./dom.js";

const TITLES = {parameters: "Parameter file", vocabulary: "Vocabulary file",
  segment: "sclip-segment line", launch: "ros2 launch line"};

export class Keep {
  constructor() {
    this.form = "parameters";
    this.text = el("textarea", {readOnly: true, rows: 9, spellcheck: false, "aria-label": "Exported text"});
    this.notes = el("div", {className: "notes"});
    this.error = el("p", {className: "error", role: "alert", id: "export-error"});
    this.choice = el("select", {"aria-label": "Form of the export", id: "export-form",
      onchange: event => { this.form = event.target.value; this.show(); }});
    this.save = el("button", {onclick: () => this.download()}, "Save");
    this.copy = el("button", {className: "main", onclick: () => this.copied()}, "Copy");
    this.given = el("textarea", {rows: 6, spellcheck: false, id: "import-text",
      "aria-label": "Text to import", "aria-describedby": "import-error",
      placeholder: "Paste a parameter file, a vocabulary, or a line of sclip-segment or ros2 launch",
      onkeydown: event => event.stopPropagation()});
    this.problem = el("p", {className: "error", role: "alert", id: "import-error"});
    this.told = el("div", {className: "notes"});
    const file = el("input", {type: "file", accept: ".yaml,.yml,.txt,text/*", className: "sr",
      id: "import-file", onchange: async event => {
        const [chosen] = event.target.files;
        if (chosen) await this.take(await chosen.slice(0, 1_000_000).text());
        event.target.value = "";
      }});
    this.pane = el("div", {className: "pane keep"},
      el("h3", {}, "Export"), this.choice, this.text, this.error, this.notes,
      el("div", {className: "row"}, this.copy, this.save),
      el("h3", {}, "Import"), this.given, this.problem, this.told,
      el("div", {className: "row"},
        el("button", {className: "main", id: "import-go", onclick: () => this.take(this.given.value)}, "Import"),
        el("label", {className: "button", for: "import-file"}, "From a file"), file));
  }

  build(forms) {
    this.choice.replaceChildren(...forms.map(form => el("option", {value: form}, TITLES[form])));
  }

  /** Write the export of the present state; only while somebody looks. */
  async show() {
    if (this.pane.hidden) return;
    const asked = this.asked = {};
    const answer = await fetch(`/export.json?form=${this.form}`);
    const made = await answered(answer);
    if (this.asked !== asked) return;  // a later question was answered first, or will be
    this.made = answer.ok ? made : null;
    this.text.value = answer.ok ? made.text : "";
    this.error.textContent = answer.ok ? "" : made.message;
    this.notes.replaceChildren(...(made.notes ?? []).map(note => el("p", {className: "note"}, note)));
    this.save.hidden = !made.file;
    this.save.textContent = made.file ? `Save ${made.file}` : "Save";
  }

  async copied() {
    if (!this.made) return;
    try {
      await navigator.clipboard.writeText(this.text.value);
    } catch {
      this.text.select();
      document.execCommand("copy");
    }
    this.copy.textContent = "Copied";
    setTimeout(() => { this.copy.textContent = "Copy"; }, 1200);
  }

  download() {
    if (!this.made) return;
    const link = el("a", {href: URL.createObjectURL(new Blob([this.made.text])), download: this.made.file});
    link.click();
    URL.revokeObjectURL(link.href);
  }

  async take(text) {
    this.problem.textContent = "";
    this.told.replaceChildren();
    const answer = await fetch("/import", {method: "POST", body: text});
    const made = await answered(answer);
    if (!answer.ok) {
      this.problem.textContent = made.message;
      return;
    }
    this.given.value = "";
    this.told.replaceChildren(el("p", {className: "note done"}, "Imported; undo brings back what was there."),
      ...made.notes.map(note => el("p", {className: "note"}, note)));
  }
}
