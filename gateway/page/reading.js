// The parts of a run as they are read: drawn once a frame, for a few milliseconds, so that the page stays quick however
// fast messages come; of a long run the newest parts only, and more when somebody asks for them.

import { count, h } from "./dom.js";
import { PartView } from "./parts.js";
import { Transcript } from "./transcript.js";

const PARTS_MAX = 400;
const MORE = 200;
const FRAME_MS = 10;
const NEAR_PX = 60;
const UP = new Set(["ArrowUp", "PageUp", "Home"]);
const MOVED_MS = 1000; // so long a scroll goes on by itself

export class Reading {
  constructor({ followed, drawn }) {
    this.tell = { followed, drawn };
    this.earlier = h("button", { type: "button", class: "earlier", hidden: true, onclick: () => this.showEarlier() });
    this.parts = h("div", { class: "parts", role: "log", "aria-live": "off", "aria-label": "What it says" });
    this.element = h("div", { class: "scroll", tabindex: "0", "aria-label": "What the run says", onscroll: () => this.scrolled() }, this.earlier, this.parts);
    this.follows = true;
    this.scrollTop = 0;
    // What is drawn first when it comes into view has a size of its own only then.
    this.sized = new ResizeObserver(() => this.follows && this.toEnd());
    this.sized.observe(this.element);
    this.sized.observe(this.parts);
    this.moved = -Infinity; // when its reader last touched what may scroll it
    const moves = () => (this.moved = performance.now());
    for (const kind of ["touchmove", "pointerdown"]) this.element.addEventListener(kind, moves, { passive: true });
    this.element.addEventListener("wheel", (event) => event.deltaY < 0 && this.leave(), { passive: true });
    this.element.addEventListener("keydown", (event) => UP.has(event.key) && this.leave());
    this.clear();
  }

  clear() {
    this.transcript = new Transcript();
    this.views = new Map();
    this.first = 0; // the index of the first part that is drawn
    this.queue = [];
    this.at = 0;
    this.parts.replaceChildren();
    this.earlier.hidden = true;
  }

  // Takes messages; they are drawn with the next frames.
  take(...messages) {
    this.queue.push(...messages);
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  // Shows what a run had said at some moment.
  show(messages) {
    this.clear();
    for (const message of messages) this.transcript.feed(message);
    this.first = Math.max(0, this.transcript.parts.length - PARTS_MAX);
    this.parts.append(...this.transcript.parts.slice(this.first).map((part) => this.view(part).element));
    this.settle();
  }

  draw() {
    this.frame = null;
    const until = performance.now() + FRAME_MS;
    const touched = new Set();
    while (this.at < this.queue.length && (this.at % 64 || performance.now() < until)) {
      touched.add(this.transcript.feed(this.queue[this.at++]));
    }
    if (this.at === this.queue.length) [this.queue, this.at] = [[], 0];
    else this.frame = requestAnimationFrame(() => this.draw());
    const { parts } = this.transcript;
    if (this.follows) this.drop(parts.length - PARTS_MAX);
    const fresh = [];
    for (const part of touched) {
      const view = this.views.get(part);
      if (view) view.update();
      else if (part.index >= this.first) fresh.push(this.view(part).element);
    }
    this.parts.append(...fresh);
    this.settle();
  }

  view(part) {
    const view = new PartView(part);
    this.views.set(part, view);
    return view;
  }

  // Takes the parts before an index off the page.
  drop(index) {
    if (index <= this.first) return;
    for (const part of this.transcript.parts.slice(this.first, index)) {
      this.views.get(part)?.element.remove();
      this.views.delete(part);
    }
    this.first = index;
  }

  settle() {
    this.earlier.hidden = this.first === 0;
    this.earlier.textContent = `${count(this.first, "earlier part")}: show more`;
    if (this.follows) this.toEnd();
    this.tell.drawn(this.transcript);
  }

  toEnd() {
    this.goTo(this.element.scrollHeight);
  }

  // Scrolls; what that tells of is no reader who goes on to the end.
  goTo(place) {
    this.element.scrollTop = place;
    this.scrollTop = this.element.scrollTop;
  }

  showEarlier() {
    const from = Math.max(0, this.first - MORE);
    const height = this.element.scrollHeight;
    this.follow(false);
    this.parts.prepend(...this.transcript.parts.slice(from, this.first).map((part) => this.view(part).element));
    this.first = from;
    this.settle();
    this.goTo(this.element.scrollTop + this.element.scrollHeight - height);
  }

  // Somebody wants to see what was before.
  leave() {
    if (this.element.scrollTop > 0) this.follow(false);
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    const by = scrollTop - this.scrollTop;
    this.scrollTop = scrollTop;
    // What is above may shrink as it is drawn; that is no reader who goes up.
    if (by < 0 && performance.now() - this.moved < MOVED_MS) this.follow(false);
    const isNear = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (by > 0 && isNear) this.follow(true);
    // What somebody began before (Home, a swipe) may go on by itself, past where it was told to go since.
    if (this.follows && !isNear) this.toEnd();
  }

  follow(does) {
    if (this.follows === does) return;
    this.follows = does;
    this.tell.followed(does);
    if (!does) return;
    this.moved = -Infinity;
    this.settle();
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.sized.disconnect();
  }
}
