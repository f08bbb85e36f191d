// The same run as bytes, in any of the formats: what that format's own clients get.

import { h } from "./dom.js";
import { place, request, token } from "./api.js";

const SHOWN_MAX = 400_000;
const KEY = "stream-router-format";

export class Bytes {
  constructor(id, formats, tell) {
    Object.assign(this, { id, formats, tell });
    this.tabs = formats.map((format) =>
      h("button", { type: "button", role: "tab", "data-format": format, onclick: () => this.read(format) }, format),
    );
    this.bar = h("div", { class: "tabs", role: "tablist", "aria-label": "Formats", onkeydown: (event) => this.pressed(event) }, ...this.tabs);
    this.size = h("span", { class: "muted size" });
    this.text = h("pre", { class: "bytes", tabindex: "0", role: "tabpanel", "aria-label": "Bytes" });
    const copy = h("button", { type: "button", class: "small", onclick: () => this.copy() }, "Copy curl");
    this.element = h("aside", { class: "beside", "aria-label": "Bytes" }, this.bar, h("p", { class: "bytesbar" }, this.size, copy), this.text);
    const kept = sessionStorage.getItem(KEY);
    this.read(formats.includes(kept) ? kept : formats[0]);
  }

  pressed(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const at = this.formats.indexOf(this.format) + by; // -1 is the last one
    this.read(this.formats.at(at % this.formats.length));
    this.tabs.find((tab) => tab.dataset.format === this.format).focus();
    event.preventDefault();
    event.stopPropagation();
  }

  async read(format) {
    this.stop?.abort();
    const stop = (this.stop = new AbortController());
    this.format = format;
    sessionStorage.setItem(KEY, format);
    for (const tab of this.tabs) {
      const isChosen = tab.dataset.format === format;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
    }
    this.text.replaceChildren();
    [this.waiting, this.bytes, this.shown, this.ends] = [[], 0, 0, ""];
    this.draw();
    try {
      const answer = await request("GET", place(this.id, `/as/${format}`), { signal: stop.signal });
      const reader = answer.body.getReader();
      const decoder = new TextDecoder();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        if (this.stop !== stop) return;
        this.bytes += part.value.length;
        this.waiting.push(decoder.decode(part.value, { stream: true }));
        this.frame ??= requestAnimationFrame(() => this.draw());
      }
      this.ends = "the end";
    } catch (error) {
      if (this.stop !== stop || stop.signal.aborted) return;
      this.ends = `cut: ${error.message}`;
    }
    if (this.stop === stop) this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = null;
    const { scrollTop, scrollHeight, clientHeight } = this.text;
    const follows = scrollHeight - scrollTop - clientHeight < 60;
    const more = this.waiting.join("");
    this.waiting = [];
    if (more) {
      this.text.append(document.createTextNode(more));
      this.shown += more.length;
      while (this.shown > SHOWN_MAX && this.text.childNodes.length > 1) {
        this.shown -= this.text.firstChild.length;
        this.text.firstChild.remove();
      }
    }
    const left = this.bytes > this.shown && this.shown > SHOWN_MAX / 2 ? ", of which the newest are shown" : "";
    this.size.textContent = `${this.bytes.toLocaleString()} bytes${left}${this.ends ? ` · ${this.ends}` : ""}`;
    if (follows) this.text.scrollTop = this.text.scrollHeight;
  }

  async copy() {
    const address = new URL(place(this.id, `/as/${this.format}`).slice(1), location.href.split("#")[0]);
    const said = token.get() ? ' -H "Authorization: Bearer $TOKEN"' : "";
    await navigator.clipboard?.writeText(`curl -N${said} '${address}'`);
    this.tell.say("The command is copied.");
  }

  close() {
    this.stop?.abort();
    cancelAnimationFrame(this.frame);
    this.element.remove();
  }
}
