// One run: how it stands, what it says as it says it, who reads it; cancel, replay, and its bytes beside it.

import { ask as question, count, h, moment, span } from "./dom.js";
import { ask, Follower, place } from "./api.js";
import { Bytes } from "./bytes.js";
import { usageText } from "./parts.js";
import { Reading } from "./reading.js";
import { Replay } from "./replay.js";
import { agentOf, tone } from "./runs.js";

const LOOK_MS = 2000;
const WORDS = { live: "live", cut: "connecting again", ended: "ended", waiting: "waiting", opening: "opening" };

export class Run {
  constructor(root, id, about, tell) {
    Object.assign(this, { root, id, about, tell, messages: [], arrived: new Map(), state: "opening" });
    this.reading = new Reading({ followed: (does) => this.followed(does), drawn: (transcript) => this.drawn(transcript) });
    root.replaceChildren(this.head(), this.pane(), this.foot());
    root.focus({ preventScroll: true });
    tell.say("");
    this.load(true);
    this.looking = setInterval(() => this.look(), LOOK_MS);
  }

  // --- its frame ---

  head() {
    const button = (text, key, does, kind = "") =>
      h("button", { type: "button", class: kind, "aria-keyshortcuts": key, title: `Key: ${key}`, onclick: does }, text);
    this.chip = h("span", { class: "chip" }, "…");
    this.title = h("h2", {}, "…");
    this.facts = h("p", { class: "facts" });
    this.tags = h("p", { class: "tags" });
    this.cancelButton = button("Cancel", "c", () => this.cancel(), "danger");
    this.replayButton = button("Replay", "r", () => this.replays());
    this.bytesButton = button("Bytes", "b", () => this.showBytes());
    this.cancelButton.hidden = true;
    for (const toggle of [this.replayButton, this.bytesButton]) toggle.setAttribute("aria-pressed", "false");
    const copy = h("button", { type: "button", class: "plain id", title: "Copy the ID", onclick: () => this.copy() }, this.id);
    const backwards = button("Runs", "Esc", () => this.tell.back(), "back");
    return h(
      "header",
      { class: "runhead" },
      h("div", { class: "titles" }, backwards, this.title, this.chip, copy),
      h("div", { class: "actions" }, this.cancelButton, this.replayButton, this.bytesButton),
      this.facts,
      this.tags,
    );
  }

  pane() {
    this.toEnd = h("button", { type: "button", class: "toend", hidden: true, onclick: () => this.reading.follow(true) }, "To the newest");
    this.read = h("div", { class: "reads" }, this.reading.element, this.toEnd);
    return (this.columns = h("div", { class: "columns" }, this.read));
  }

  foot() {
    this.used = h("span", {});
    this.readers = h("span", { class: "readers" });
    return h("footer", { class: "runfoot" }, this.used, this.readers);
  }

  async copy() {
    await navigator.clipboard?.writeText(this.id);
    this.tell.say("The ID is copied.");
  }

  // --- how it stands ---

  async load(isFirst = false) {
    try {
      const info = await ask("GET", place(this.id));
      if (this.isClosed) return;
      this.info = info;
      this.known = isFirst ? info.last_seq_id : this.known; // what comes behind is read live
      this.describe();
      if (isFirst) this.follow();
    } catch (error) {
      if (!this.isClosed) this.fail(error);
    }
  }

  follow() {
    this.follower = new Follower(this.id, {
      message: (message) => this.take(message),
      end: (said) => this.ended(said),
      state: (state) => this.stands(state),
      failed: (error) => this.fail(error),
    });
    this.look();
  }

  fail(error) {
    this.hasFailed = true;
    this.follower?.close();
    clearInterval(this.looking);
    this.title.textContent = this.title.textContent === "…" ? "Run" : this.title.textContent;
    this.stands("ended", error.status === 404 ? "not known" : "cannot be read", "failed");
    this.facts.textContent = error.message;
    this.tell.failed(error);
  }

  stands(state, word = WORDS[state], kind = state) {
    if (state === "cut" && this.state !== "cut") this.tell.say("The connection was cut; it is made again.");
    if (state === "live" && this.state === "cut") this.tell.say("");
    this.state = state;
    this.chip.textContent = word;
    this.chip.dataset.tone = kind;
  }

  describe() {
    const { info } = this;
    this.title.textContent = agentOf(info) || "Run";
    document.title = `${agentOf(info) || this.id} · Stream Router`;
    const tags = Object.entries(info.tags).filter(([name]) => name !== "agent");
    const metadata = Object.keys(info.metadata).length
      ? h("details", {}, h("summary", {}, "Metadata"), h("pre", {}, JSON.stringify(info.metadata, null, 2)))
      : null;
    this.tags.replaceChildren(...tags.map(([name, value]) => h("span", { class: "tag" }, `${name}=${value}`)), metadata ?? "");
    this.tags.hidden = !tags.length && !metadata;
    this.cancelButton.hidden = info.state === "sealed" || !this.about.scopes.includes("cancel");
    if (info.state === "sealed" && this.follower?.isClosed) this.stands("ended", info.stop_reason ?? "ended", tone(info));
    this.count();
  }

  count() {
    if (!this.info) return;
    const began = Date.parse(this.info.created_at);
    // How long it took is known of what was seen to end.
    const until = this.endedAt ?? (this.info.state === "sealed" ? null : Date.now());
    const took = until === null ? "" : ` · ${span(until - began)}`;
    const text = `Began ${moment(began)}${took} · ${count(this.reading.transcript.last, "message")}`;
    if (this.facts.textContent !== text && !this.hasFailed) this.facts.textContent = text;
  }

  async look() {
    if (document.hidden || this.isClosed || !this.follower || this.hasFailed) return;
    this.count();
    const said = await ask("GET", place(this.id, "/readers")).catch(() => null);
    if (said === null || this.isClosed) return;
    const parts = said.here.length ? [`${count(said.here.length, "reader")} here`] : [];
    const behind = said.here.map((reader) => `${reader.format} ${reader.behind === null ? "catching up" : `−${reader.behind}`}`);
    const slowest = Math.max(0, ...said.here.map((reader) => reader.behind ?? 0));
    if (said.here.length) parts.push(slowest ? `the slowest is ${count(slowest, "event")} behind` : "all up to date");
    if (said.consumer?.behind) parts.push(`its publisher is ${count(said.consumer.behind, "message")} ahead of whom it waits for`);
    this.readers.textContent = parts.join(" · ");
    this.readers.title = behind.join("\n");
  }

  // --- what it says ---

  take(message) {
    if (message.seq_id > this.known) this.arrived.set(message.seq_id, performance.now());
    this.messages.push(message);
    if (this.info.state === "waiting") this.load();
    if (!this.replay) this.reading.take(message);
  }

  drawn(transcript) {
    const used = transcript.usage?.total_tokens ? usageText(transcript.usage) : "";
    if (this.used.textContent !== used) this.used.textContent = used;
    const now = performance.now();
    if (now - (this.counted ?? 0) < 250 && !transcript.stop) return;
    this.counted = now;
    this.count();
  }

  ended({ stop_reason: reason }) {
    this.stands("ended", reason ?? "ended", tone({ state: "sealed", stop_reason: reason }));
    if (this.info.state !== "sealed") {
      this.endedAt = Date.now();
      this.tell.say(`The run has ended: ${reason ?? "for an unknown reason"}.`);
    }
    this.cancelButton.hidden = true;
    this.load();
    this.look();
    this.tell.changed();
  }

  followed(does) {
    this.toEnd.hidden = does;
  }

  // --- what can be done with it ---

  get keys() {
    const { replay } = this;
    const keys = { f: () => this.reading.follow(!this.reading.follows), r: () => this.replays(), b: () => this.showBytes(), c: () => this.cancel() };
    if (replay) Object.assign(keys, { " ": () => replay.toggle(), ArrowLeft: () => replay.step(-1), ArrowRight: () => replay.step(1) });
    return keys;
  }

  async cancel() {
    if (this.cancelButton.hidden) return;
    const body = h("p", {}, "It ends at once, for everybody who reads it.");
    const chosen = await question("Cancel this run?", body, [["", "Let it go on", ""], ["cancel", "Cancel the run", "danger"]]);
    if (chosen !== "cancel") return;
    try {
      const { cancelled } = await ask("DELETE", place(this.id));
      if (!cancelled) this.tell.say("The run had ended already.");
    } catch (error) {
      this.tell.failed(error);
    }
  }

  replays() {
    this.replayButton.setAttribute("aria-pressed", String(!this.replay));
    if (this.replay) {
      this.replay.close();
      this.replay = null;
      return this.reading.show(this.messages);
    }
    if (!this.messages.length) return this.replayButton.setAttribute("aria-pressed", "false");
    this.reading.follow(true);
    this.replay = new Replay([...this.messages], this.arrived, this.reading, () => this.replays());
    this.read.append(this.replay.element);
  }

  showBytes() {
    this.bytesButton.setAttribute("aria-pressed", String(!this.bytes));
    this.columns.classList.toggle("two", !this.bytes);
    if (this.bytes) {
      this.bytes.close();
      this.bytes = null;
      return;
    }
    this.bytes = new Bytes(this.id, this.about.formats, this.tell);
    this.columns.append(this.bytes.element);
  }

  close() {
    this.isClosed = true;
    document.title = "Stream Router";
    clearInterval(this.looking);
    this.follower?.close();
    this.replay?.close();
    this.bytes?.close();
    this.reading.close();
  }
}
