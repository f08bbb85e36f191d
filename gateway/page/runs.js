// The list of runs: filtered, a page at a time, looked at anew every other second while the page is seen.

import { $, count, h, span } from "./dom.js";
import { ask } from "./api.js";

const EVERY_MS = 2000;
const ON_A_PAGE = 50;

// Why a run ends that has not failed.
const GOOD = new Set(["end_turn", "tool_call", "max_tokens", "stop_sequence", "refusal", "pause_turn"]);

// How a run stands, in a word for its colour.
export function tone(info) {
  if (info.state !== "sealed") return info.state === "open" ? "open" : "waiting";
  if (info.stop_reason === "cancelled") return "cancelled";
  return info.stop_reason === null || GOOD.has(info.stop_reason) ? "ended" : "failed";
}

export const agentOf = (info) => info.tags.agent ?? info.agent_id ?? "";

export class Runs {
  constructor({ show, failed, say }) {
    this.tell = { show, failed, say };
    this.list = $("runs");
    this.rows = new Map();
    this.cursors = [""]; // of the pages until this one; "": from the newest on
    this.agents = new Set();
    this.chosen = null;
    this.opened = null;
    this.asked = 0;
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("filters").addEventListener("input", () => this.filtered());
    $("older").addEventListener("click", () => this.turn(this.next));
    $("newer").addEventListener("click", () => this.turn(null));
    this.list.addEventListener("click", (event) => {
      const row = event.target.closest("li");
      if (row) this.choose(row.dataset.id, true);
    });
    this.list.addEventListener("keydown", (event) => this.pressed(event));
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    setInterval(() => document.hidden || this.refresh(), EVERY_MS);
  }

  knows(agents) {
    this.agents = new Set(agents);
    this.isKnown = true;
  }

  // Until the gateway says again what it knows: nothing is asked.
  wait() {
    this.isKnown = false;
  }

  filtered() {
    this.cursors = [""];
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.refresh(), 200);
  }

  turn(next) {
    if (next) this.cursors.push(next);
    else this.cursors.pop();
    this.refresh();
    this.list.scrollTop = 0;
  }

  query() {
    const query = new URLSearchParams({ newest_first: "true", limit: ON_A_PAGE });
    const [agent, tag, state] = ["agent", "tag", "state"].map((id) => $(id).value.trim());
    // What the gateway starts bears its agent's name as a tag; other programs name an agent as such.
    if (agent) query.append(...(this.agents.has(agent) ? ["tag", `agent=${agent}`] : ["agent", agent]));
    if (tag) query.append("tag", tag);
    if (state) query.set("state", state);
    if (this.cursors.at(-1)) query.set("after", this.cursors.at(-1));
    return query;
  }

  async refresh() {
    if (!this.isKnown) return;
    const number = ++this.asked;
    try {
      const listed = await ask("GET", `/v1/streams?${this.query()}`);
      if (number !== this.asked) return; // another question was asked since
      if (this.isAway) this.tell.say("");
      this.isAway = false;
      this.fill(listed);
    } catch (error) {
      if (number !== this.asked) return;
      this.isAway = true;
      this.tell.failed(error instanceof TypeError ? { message: "The gateway does not answer; trying again." } : error);
    }
  }

  fill({ streams, cursor, has_more: hasMore }) {
    const rows = new Map();
    for (const info of streams) {
      const row = this.rows.get(info.id) ?? this.row(info.id);
      this.update(row, info);
      rows.set(info.id, row);
    }
    const wanted = [...rows.values()].map((row) => row.element);
    const isSame = wanted.length === this.list.children.length && wanted.every((one, at) => one === this.list.children[at]);
    if (!isSame) this.list.replaceChildren(...wanted);
    this.rows = rows;
    this.next = hasMore ? cursor : null;
    $("older").disabled = !hasMore;
    $("newer").disabled = this.cursors.length === 1;
    $("page").textContent = this.cursors.length > 1 || hasMore ? `Page ${this.cursors.length}` : "";
    $("none").hidden = streams.length > 0;
    const isFiltered = ["agent", "tag", "state"].some((id) => $(id).value);
    $("none").textContent = isFiltered ? "No run fits these filters." : "There are no runs yet.";
    if (!rows.has(this.chosen)) this.chosen = null;
    this.draw();
  }

  row(id) {
    const parts = ["agent", "age", "why", "id"].map((kind) => h("span", { class: kind }));
    const element = h("li", { role: "option", id: `run-${id}`, "data-id": id }, h("i", { "aria-hidden": "true" }), ...parts);
    return { element, parts, said: null };
  }

  update(row, info) {
    const agent = agentOf(info);
    const why = info.state === "sealed" ? (info.stop_reason ?? "ended") : info.state;
    const tokens = info.usage?.total_tokens ? ` · ${count(info.usage.total_tokens, "token")}` : "";
    const texts = [agent || info.id, span(Date.now() - Date.parse(info.created_at)), `${why}${tokens}`, agent ? info.id : ""];
    row.parts.forEach((part, at) => part.textContent !== texts[at] && (part.textContent = texts[at]));
    row.element.dataset.tone = tone(info);
  }

  // --- what is chosen, and what is open ---

  draw() {
    for (const [id, { element }] of this.rows) {
      element.setAttribute("aria-selected", String(id === this.chosen));
      element.toggleAttribute("aria-current", id === this.opened);
    }
    const row = this.rows.get(this.chosen);
    if (row) this.list.setAttribute("aria-activedescendant", row.element.id);
    else this.list.removeAttribute("aria-activedescendant");
  }

  choose(id, opens = false) {
    this.chosen = id;
    this.draw();
    this.rows.get(id)?.element.scrollIntoView({ block: "nearest" });
    if (opens) this.tell.show(id);
  }

  mark(id) {
    this.opened = id;
    if (id !== null) this.chosen = id;
    this.draw();
  }

  move(by) {
    const ids = [...this.rows.keys()];
    if (!ids.length) return;
    const at = ids.indexOf(this.chosen);
    const to = at < 0 ? (by > 0 ? 0 : ids.length - 1) : Math.min(Math.max(at + by, 0), ids.length - 1);
    this.list.focus({ preventScroll: true });
    this.choose(ids[to]);
  }

  pressed(event) {
    const by = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity, PageDown: 10, PageUp: -10 }[event.key];
    if (by) this.move(by);
    else if (event.key === "Enter" && this.chosen) this.tell.show(this.chosen);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
