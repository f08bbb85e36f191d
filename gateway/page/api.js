// What the gateway is asked. A token is kept for this tab alone, and goes into a header; an EventSource, which can send
// none, gets a ticket: an address that opens one stream for a short time.

const KEY = "stream-router-token";

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

export class Refused extends Error {
  constructor(status, text, code) {
    super(text);
    this.status = status;
    this.code = code;
  }
}

export async function request(method, path, { body, signal } = {}) {
  const headers = token.get() ? { authorization: `Bearer ${token.get()}` } : {};
  if (body !== undefined) headers["content-type"] = "application/json";
  const options = { method, headers, signal, body: body && JSON.stringify(body), credentials: "same-origin" };
  const answer = await fetch(path.slice(1), options);
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, said.error?.message ?? `the gateway answered ${answer.status}`, said.error?.code);
}

export const ask = async (method, path, options) => (await request(method, path, options)).json();

export const place = (id, more = "") => `/v1/streams/${encodeURIComponent(id)}${more}`;

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
// Of what will not get better by itself.
const FINAL = new Set([400, 403, 404]);

// Reads a run's messages to their end, across cuts: each once, in order. An EventSource connects again by itself with
// its last ID; where it gives up (its ticket is too old, or the gateway was away), another takes its place.
export class Follower {
  constructor(id, { message, end, state, failed }) {
    this.id = id;
    this.tell = { message, end, state, failed };
    this.last = 0;
    this.tries = 0;
    this.isClosed = false;
    this.connect();
  }

  async connect() {
    try {
      const events = await this.address();
      if (this.isClosed) return;
      this.listen(`${events.slice(1)}${events.includes("?") ? "&" : "?"}after=${this.last}`);
    } catch (error) {
      if (this.isClosed) return;
      if (error.status === 401) this.tell.failed(error);
      else if (FINAL.has(error.status)) this.stop(error);
      else this.later();
    }
  }

  // Without a token nothing has to be shown (a proxy may say who asks), but whether the run is there is asked first: of
  // an EventSource that is refused nobody learns why.
  async address() {
    if (token.get()) return (await ask("POST", place(this.id, "/ticket"))).events;
    await ask("GET", place(this.id));
    return place(this.id, "/events");
  }

  listen(address) {
    const source = (this.source = new EventSource(address));
    source.onopen = () => {
      this.tries = 0;
      this.tell.state("live");
    };
    source.onmessage = (event) => {
      const seq = Number(event.lastEventId);
      if (seq <= this.last) return;
      this.last = seq;
      this.tell.message(JSON.parse(event.data));
    };
    source.addEventListener("end", (event) => {
      this.close();
      this.tell.end(JSON.parse(event.data));
    });
    source.onerror = () => {
      if (this.isClosed) return;
      this.tell.state("cut");
      if (source.readyState === EventSource.CLOSED) this.later();
    };
  }

  later() {
    this.tell.state("cut");
    const wait = RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)];
    this.timer = setTimeout(() => this.connect(), wait);
  }

  stop(error) {
    this.close();
    this.tell.failed(error);
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.timer);
    this.source?.close();
  }
}
