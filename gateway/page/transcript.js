// Messages in, parts out: what of a run belongs together as a person reads it. Knows no page.
//
// A part is one message, whose pieces are joined, or a tool call with its return. `texts` are the pieces of its text;
// whoever shows it appends those that have come since.

const TEXTS = {
  user_message: ["user", "content"],
  system_message: ["system", "content"],
  assistant_message: ["assistant", "content"],
  reasoning_message: ["reasoning", "reasoning"],
  hidden_reasoning_message: ["reasoning", "hidden_reasoning"],
  function_call: ["call", "function_call"],
};

// Content may be a list of text and of what is no text.
function textOf(value) {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return value === null || value === undefined ? "" : JSON.stringify(value, null, 2);
  return value.map((one) => (typeof one?.text === "string" ? one.text : JSON.stringify(one))).join("\n");
}

export class Transcript {
  constructor() {
    this.parts = [];
    this.byKey = new Map();
    this.byCall = new Map(); // the newest call of each ID: some providers number them anew in each answer
    this.last = 0;
    this.stop = null;
    this.usage = null;
  }

  // Takes a message; returns the part that it belongs to.
  feed(message) {
    this.last = message.seq_id;
    const kind = message.message_type;
    if (kind === "tool_call_message") return this.call(message);
    if (kind === "tool_return_message") return this.returned(message);
    if (Object.hasOwn(TEXTS, kind)) return this.text(message, ...TEXTS[kind]);
    if (kind === "stop_reason") this.stop = message;
    if (kind === "usage_statistics") {
      this.usage = message;
      this.stopPart ??= this.add(message, "end", null);
      this.stopPart.usage = message;
      return this.stopPart;
    }
    const part = this.add(message, { stop_reason: "end", error_message: "error", gap: "gap" }[kind] ?? "other", null);
    if (kind === "stop_reason") this.stopPart = part;
    return part;
  }

  add(message, kind, key) {
    const part = { kind, first: message.seq_id, date: message.date, message, texts: [], result: null, index: this.parts.length };
    part.choice = message.choice_index || 0;
    this.parts.push(part);
    if (key !== null) this.byKey.set(key, part);
    return part;
  }

  text(message, kind, field) {
    const key = JSON.stringify([kind, message.id, message.otid, message.choice_index]);
    const part = this.byKey.get(key) ?? this.add(message, kind, key);
    const text = textOf(message[field]);
    if (text) part.texts.push(text);
    return part;
  }

  call(message) {
    const { name, arguments: text, tool_call_id: id } = message.tool_call;
    const key = JSON.stringify(["call", message.id, id ?? message.otid, message.choice_index]);
    const part = this.byKey.get(key) ?? this.add(message, "call", key);
    this.byCall.set(id, part);
    if (name) part.name = (part.name ?? "") + name;
    if (text) part.texts.push(text);
    part.callId = id;
    return part;
  }

  returned(message) {
    const part = this.byCall.get(message.tool_call_id) ?? this.add(message, "return", null);
    this.byCall.set(message.tool_call_id, part); // what has no call of its own, too, may come in pieces
    part.result ??= { texts: [], status: message.status, message };
    part.result.texts.push(textOf(message.tool_return));
    for (const [name, lines] of [["stdout", message.stdout], ["stderr", message.stderr]]) {
      if (lines?.length) part.result.texts.push(`\n${name}: ${lines.join("\n")}`);
    }
    return part;
  }
}

// A log keeps no time of a message's pieces: its date is that of its step, or of its request. So pieces of one date
// follow each other at a steady pace, which is no slower than the next date allows; what is left until then is a pause.
const PIECE_MS = 60;

// Returns when each message came, in ms from the first. `arrived`: when those came that were read live, by seq_id.
export function timing(messages, arrived = new Map()) {
  const times = [];
  let start = 0;
  while (start < messages.length) {
    let next = start + 1;
    while (next < messages.length && messages[next].date === messages[start].date) next++;
    const from = Date.parse(messages[start].date);
    const until = next < messages.length ? Date.parse(messages[next].date) : Infinity;
    const step = Math.min((until - from) / (next - start), Math.max(PIECE_MS, 1000 / (next - start)));
    for (let at = start; at < next; at++) times.push(from + Math.max(0, step) * (at - start) || 0);
    start = next;
  }
  // Where both of two neighbours were read live, it is known better how long it was from one to the other.
  let now = 0;
  return times.map((time, at) => {
    const [here, before] = [arrived.get(messages[at].seq_id), arrived.get(messages[at - 1]?.seq_id)];
    if (at) now += Math.max(0, (here && before ? here - before : time - times[at - 1]) || 0);
    return now;
  });
}
