// Parts of a run as elements. A part's text is one text node, to which pieces are appended as they come; a very long
// one goes on in another behind some line's end, since a browser lays out a text anew as a whole.

import { count, h, moment } from "./dom.js";

const NAMES = {
  user: "User", system: "System", assistant: "Assistant", reasoning: "Reasoning", call: "Tool call", return: "Tool return",
  error: "Error", gap: "Gap", end: "End", other: "Message",
};
const LONG = 16_000;
const PRETTY_MAX = 64_000;

// A text that grows.
class Growing {
  constructor(element) {
    this.element = element;
    this.shown = 0;
    this.begin();
  }

  begin(text = "") {
    this.node = document.createTextNode(text);
    this.element.append(h("div", {}, this.node));
  }

  // Appends what has come of `texts` since.
  grow(texts) {
    if (this.shown === texts.length) return;
    const more = texts.slice(this.shown).join("");
    this.shown = texts.length;
    const cut = this.node.length > LONG ? more.indexOf("\n") : -1;
    if (cut < 0) return this.node.appendData(more);
    this.node.appendData(more.slice(0, cut));
    this.begin(more.slice(cut + 1));
  }

  set(text) {
    this.element.replaceChildren();
    this.begin(text);
  }
}

const text = (kind) => h("div", { class: `text ${kind}` });

export class PartView {
  constructor(part) {
    this.part = part;
    this.grows = [];
    const name = h("span", { class: "name" }, part.choice ? `${NAMES[part.kind]} ${part.choice + 1}` : NAMES[part.kind]);
    const place = h("span", { class: "place", title: `${moment(part.date)}, message ${part.first}` }, `#${part.first}`);
    this.body = h("div", { class: "body" });
    this.element = h("article", { class: `part ${part.kind}`, "aria-label": NAMES[part.kind] }, h("header", {}, name, place), this.body);
    this.make();
    this.update();
  }

  make() {
    const { kind, message } = this.part;
    if (kind === "call" || kind === "return") return this.makeCall();
    if (kind === "end") return this.makeEnd();
    if (kind === "gap") {
      const [first, last] = [message.first_seq_id, message.last_seq_id];
      return this.body.append(`Messages ${first.toLocaleString()} to ${last.toLocaleString()} are not kept any more.`);
    }
    if (kind === "error") {
      const more = message.detail ? text("detail") : null;
      if (more) more.textContent = message.detail;
      return this.body.append(h("strong", {}, message.error_type), ` ${message.message}`, more ?? "");
    }
    if (kind === "other") return this.body.append(JSON.stringify(message, null, 2));
    if (message.message_type === "hidden_reasoning_message") {
      this.body.append(h("em", {}, `Hidden by the provider: ${message.state}`));
      return;
    }
    const element = text(kind);
    this.body.append(element);
    this.grows.push([new Growing(element), () => this.part.texts]);
  }

  makeCall() {
    const { part } = this;
    this.name = h("code", { class: "tool" });
    this.state = h("span", { class: "state" });
    const given = text("arguments");
    const head = h("div", { class: "callhead" }, this.name, part.callId ? h("span", { class: "callid" }, part.callId) : "", this.state);
    this.box = h("div", { class: "callbox" }, head);
    this.body.append(this.box);
    if (part.kind === "call") {
      this.box.append(given);
      this.given = new Growing(given);
      this.grows.push([this.given, () => this.part.texts]);
    }
  }

  update() {
    const { part } = this;
    for (const [growing, texts] of this.grows) growing.grow(texts());
    if (this.box) this.updateCall();
    if (part.kind === "end") this.updateEnd();
  }

  updateCall() {
    const { part } = this;
    const name = part.name ?? part.result?.message.tool_call_id ?? "";
    if (this.name.textContent !== name) this.name.textContent = name;
    if (!part.result) return void (this.state.textContent = "");
    if (!this.result) {
      this.tidy();
      const isBad = part.result.status === "error";
      this.result = text(isBad ? "result bad" : "result");
      this.box.append(this.result);
      this.grows.push([new Growing(this.result), () => part.result.texts]);
      this.grows.at(-1)[0].grow(part.result.texts);
      this.state.textContent = isBad ? "failed" : "returned";
      this.box.dataset.status = part.result.status;
    }
  }

  // Sets out arguments that are complete.
  tidy() {
    if (!this.given || this.isTidy) return;
    const whole = this.part.texts.join("");
    if (whole.length > PRETTY_MAX) return;
    try {
      const pretty = JSON.stringify(JSON.parse(whole), null, 2);
      this.given.set(pretty.length > 80 ? pretty : whole);
      this.given.shown = this.part.texts.length;
      this.isTidy = true;
    } catch {
      // They stay as they came.
    }
  }

  makeEnd() {
    this.why = h("strong", {});
    this.more = h("span", { class: "muted" });
    this.detail = text("detail");
    this.used = h("p", { class: "used" });
    this.body.append(h("p", {}, this.why, this.more), this.detail, this.used);
  }

  updateEnd() {
    const { message, usage } = this.part;
    this.why.textContent = message.stop_reason ?? "ended";
    this.more.textContent = message.provider_reason ? ` the provider said ${message.provider_reason}` : "";
    this.detail.textContent = message.detail ?? "";
    this.detail.hidden = !message.detail;
    this.used.textContent = usage ? usageText(usage) : "";
  }
}

// Token counts in words; "" where nobody gave any.
export function usageText(usage) {
  if (!usage.reported && !usage.total_tokens) return "The provider reported no token counts.";
  const within = (number, word) => (number ? ` (${number.toLocaleString()} ${word})` : "");
  const given = `${(usage.prompt_tokens ?? 0).toLocaleString()} in${within(usage.cached_tokens, "cached")}`;
  const made = `${(usage.completion_tokens ?? 0).toLocaleString()} out${within(usage.reasoning_tokens, "reasoning")}`;
  const steps = usage.step_count > 1 ? `, ${count(usage.step_count, "step")}` : "";
  return `${count(usage.total_tokens ?? 0, "token")}: ${given}, ${made}${steps}`;
}
