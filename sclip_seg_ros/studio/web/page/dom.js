// Elements without markup: all text goes in as text, so that no word can become code.

export const $ = id => document.getElementById(id);

/** Make an element; `on...` are listeners, `data` its data attributes, the rest properties. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

/** A coloured square. */
export function swatch(colour) {
  const made = el("span", {className: "swatch"});
  made.style.background = colour;
  return made;
}

export const hex = rgb => "#" + rgb.map(part => part.toString(16).padStart(2, "0")).join("");

export function percent(share) {
  const value = 100 * share;
  return value === 0 ? "0 %" : value < 0.1 ? "<0.1 %" : `${value.toFixed(value < 10 ? 1 : 0)} %`;
}

/** Buttons of which one is on, moved through with arrows. */
export function segments(holder, choices, chosen, pick) {
  holder.replaceChildren(...choices.map(({name, title, hint}) => el("button", {
    role: "radio", "aria-checked": String(name === chosen), tabIndex: name === chosen ? 0 : -1,
    title: hint, data: {name}, textContent: title, onclick: () => pick(name),
    onkeydown: event => {
      const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const place = choices.findIndex(other => other.name === name);
      const next = choices[(place + step + choices.length) % choices.length].name;
      pick(next);
      holder.querySelector(`[data-name="${next}"]`).focus();
    },
  })));
}

/** Return what the server answered; of an answer that is no JSON, as to a wrong token, its first line. */
export async function answered(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text);
  } catch {
    return {message: text.split("\n")[0] || `the studio answered ${answer.status}; the terminal has the details`};
  }
}
