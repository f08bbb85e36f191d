// The page: which run is open stands in the address (#/runs/ID), so that it can be kept, and sent to somebody.

import { ask as question, $, h } from "./dom.js";
import { ask, token } from "./api.js";
import { Runs } from "./runs.js";
import { Run } from "./run.js";

const KEYS = [
  ["j k ↓ ↑", "the next run, the one before"],
  ["Enter", "open it"],
  ["/", "filter"],
  ["Esc", "back to the runs"],
  ["f", "follow the newest, or stay"],
  ["r", "replay; leave the replay"],
  ["Space", "in a replay: go on, pause"],
  ["← →", "in a replay: back, on"],
  ["b", "its bytes beside it, in any format"],
  ["c", "cancel the run (it asks)"],
  ["n", "start a run"],
  ["?", "these keys"],
];

let about = { formats: [], agents: [], scopes: [] };
let run = null;
let asking = null;

export function say(text) {
  $("status").textContent = text;
}

// Shows what went wrong; asks for a token where that is what is missing. Every caller waits for the same answer.
export async function failed(error) {
  if (error.status !== 401) return say(error.message);
  asking ??= askForToken(token.get() ? "The gateway does not know this token." : "This gateway wants a token.");
  const chosen = await asking;
  if (!asking) return; // whoever asked first goes on
  asking = null;
  if (chosen) await // A page that a browser keeps for the way back reads nothing meanwhile.
addEventListener("pagehide", () => {
  run?.close();
  run = null;
});
addEventListener("pageshow", (event) => event.persisted && begin());
begin();
}

async function askForToken(why) {
  runs.wait();
  $("token").hidden = false;
  const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", "aria-label": "Token", autofocus: true });
  const body = h("div", {}, h("p", {}, why), input, h("p", { class: "muted" }, "It is kept in this tab only."));
  const chosen = await question("Token", body, [["use", "Use it", "primary"], ["forget", "Forget it", ""]]);
  if (chosen === "use") token.set(input.value.trim());
  if (chosen === "forget") token.set("");
  return chosen;
}

async function begin() {
  try {
    about = await ask("GET", "/v1/about");
  } catch (error) {
    if (error instanceof TypeError) setTimeout(begin, 2000);
    return failed(error instanceof TypeError ? { message: "The gateway does not answer; trying again." } : error);
  }
  say("");
  $("token").hidden = !token.get();
  $("new").hidden = !about.agents.length || !about.scopes.includes("run");
  $("agents").replaceChildren(...about.agents.map((name) => h("option", { value: name })));
  runs.knows(about.agents);
  runs.refresh();
  open();
}

function open() {
  const [, id] = location.hash.match(/^#\/runs\/(.+)$/) ?? [];
  const wanted = id === undefined ? null : decode(id);
  if (run?.id === wanted && !run?.hasFailed) return;
  run?.close();
  run = wanted === null ? null : new Run($("run"), wanted, about, { say, failed, back, changed: () => runs.refresh() });
  document.body.classList.toggle("reads", run !== null);
  runs.mark(wanted);
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const show = (id) => {
  location.hash = `#/runs/${encodeURIComponent(id)}`;
  if (run?.id === id) $("run").focus();
};

function back() {
  if (location.hash.length > 2) history.pushState(null, "", location.pathname + location.search);
  const welcome = h("div", { class: "welcome" }, h("p", {}, "Choose a run to read it."));
  run?.close();
  run = null;
  $("run").replaceChildren(welcome);
  document.body.classList.remove("reads");
  runs.mark(null);
  $("runs").focus();
}

function help() {
  const rows = KEYS.flatMap(([keys, what]) => [
    h("dt", {}, ...keys.split(" ").map((key) => h("kbd", {}, key))),
    h("dd", {}, what),
  ]);
  return question("Keys", h("dl", { class: "keys" }, ...rows), [["", "Close", "primary"]]);
}

async function start() {
  if ($("new").hidden) return;
  const agent = h("select", { "aria-label": "Agent" }, ...about.agents.map((name) => h("option", {}, name)));
  const input = h("textarea", { rows: 4, placeholder: "What it is to be told", "aria-label": "Input", autofocus: true });
  const body = h("div", { class: "fields" }, agent, input);
  if ((await question("New run", body, [["start", "Start", "primary"], ["", "Close", ""]])) !== "start") return;
  try {
    const { id } = await ask("POST", "/v1/streams", { body: { agent: agent.value, input: input.value } });
    runs.refresh();
    show(id);
  } catch (error) {
    failed(error);
  }
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const at = event.target;
  const types = at.matches("input:not([type=range]), textarea, select");
  if (event.key === "Escape") {
    if (types) at.blur();
    else if (run) back();
    return;
  }
  if (types) return;
  if (event.key === " " && at.closest("button, summary, select")) return;
  const does = { "?": help, "/": () => $("agent").focus(), n: start, j: () => runs.move(1), k: () => runs.move(-1) };
  const action = does[event.key] ?? (run && run.keys[event.key]);
  if (!action || (at.matches("input") && event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  action();
}

const runs = new Runs({ show, failed, say });
$("help").addEventListener("click", help);
$("new").addEventListener("click", start);
$("token").addEventListener("click", () => failed({ status: 401 }));
document.addEventListener("keydown", pressed);
addEventListener("hashchange", open);
// A page that a browser keeps for the way back reads nothing meanwhile.
addEventListener("pagehide", () => {
  run?.close();
  run = null;
});
addEventListener("pageshow", (event) => event.persisted && begin());
begin();
