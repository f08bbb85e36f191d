// Elements from plain values. Every text becomes a text node: nothing that a run says is ever read as markup.

export function h(name, given = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const $ = (id) => document.getElementById(id);

// A moment: its time, and its day where that is not today.
export function moment(date) {
  const day = new Date(date);
  const isToday = day.toDateString() === new Date().toDateString();
  return isToday ? day.toLocaleTimeString() : day.toLocaleString();
}

// How long something takes, in the two greatest units.
export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  const [minutes, hours, days] = [Math.floor(s / 60), Math.floor(s / 3600), Math.floor(s / 86400)];
  if (minutes < 60) return `${minutes} min ${s % 60} s`;
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${days} d ${hours % 24} h`;
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

// Asks a question over the page; resolves with the value of the button that was taken, "" where it was closed.
export function ask(title, body, buttons) {
  return new Promise((resolve) => {
    const row = buttons.map(([value, text, kind]) => h("button", { value, class: kind }, text));
    const form = h("form", { method: "dialog" }, h("h2", {}, title), body, h("p", { class: "buttons" }, ...row));
    const dialog = h("dialog", { "aria-label": title, onclose: closed }, form);
    function closed() {
      dialog.remove();
      resolve(dialog.returnValue);
    }
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close(""));
    document.body.append(dialog);
    dialog.showModal();
  });
}
