// A run again, at the pace at which it was said.

import { h, span } from "./dom.js";
import { timing } from "./transcript.js";

const SPEEDS = [0.5, 1, 2, 4, 16, 64];
const STEP_MS = 5000;

const clock = (ms) => `${Math.floor(ms / 60_000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}`;

export class Replay {
  constructor(messages, arrived, reading, left) {
    Object.assign(this, { messages, reading });
    this.times = timing(messages, arrived);
    this.whole = this.times.at(-1);
    this.button = h("button", { type: "button", class: "primary play", onclick: () => this.toggle() });
    this.slider = h("input", { type: "range", min: 0, max: Math.max(1, Math.ceil(this.whole)), step: 1, "aria-label": "Place in the replay", oninput: () => this.wish() });
    this.time = h("span", { class: "time" });
    this.speed = h("select", { "aria-label": "Speed" }, ...SPEEDS.map((one) => h("option", { value: one, selected: one === 1 }, `${one}×`)));
    const leave = h("button", { type: "button", onclick: left }, "Leave");
    this.element = h("div", { class: "replay", role: "group", "aria-label": "Replay" }, this.button, this.slider, this.time, this.speed, leave);
    this.seek(0);
    this.play(true);
  }

  toggle() {
    if (!this.plays && this.now >= this.whole) this.seek(0);
    this.play(!this.plays);
  }

  play(does) {
    this.plays = does;
    this.button.textContent = does ? "Pause" : "Play";
    cancelAnimationFrame(this.frame);
    if (!does) return;
    this.ticked = performance.now();
    this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    this.now = Math.min(this.whole, this.now + Math.max(0, now - this.ticked) * Number(this.speed.value));
    this.ticked = now;
    const from = this.at;
    while (this.at < this.messages.length && this.times[this.at] <= this.now) this.at++;
    if (this.at > from) this.reading.take(...this.messages.slice(from, this.at));
    this.draw();
    if (this.at === this.messages.length) this.play(false);
    else this.frame = requestAnimationFrame((next) => this.tick(next));
  }

  // Somebody draws the slider: once a frame is enough.
  wish() {
    cancelAnimationFrame(this.wished);
    this.wished = requestAnimationFrame(() => this.seek(Number(this.slider.value)));
  }

  step(by) {
    this.seek(this.now + by * STEP_MS);
  }

  seek(ms) {
    this.now = Math.min(Math.max(ms, 0), this.whole);
    const later = this.times.findIndex((time) => time > this.now);
    this.at = later < 0 ? this.messages.length : later;
    this.reading.show(this.messages.slice(0, this.at));
    this.draw();
  }

  draw() {
    this.slider.value = this.now;
    this.slider.setAttribute("aria-valuetext", `${span(this.now)} of ${span(this.whole)}`);
    this.time.textContent = `${clock(this.now)} / ${clock(this.whole)}`;
  }

  close() {
    cancelAnimationFrame(this.frame);
    cancelAnimationFrame(this.wished);
    this.element.remove();
  }
}
