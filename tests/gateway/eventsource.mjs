// Reads a stream as a browser does, until the server tells it to stop; prints what came, a line of JSON each.
setInterval(() => {}, 1000); // Node's own waits for its next try without keeping the process alive
const source = new EventSource(process.argv[2]);
const say = (what) => console.log(JSON.stringify(what));
source.onmessage = (event) => say({ last: event.lastEventId, ...JSON.parse(event.data) });
source.addEventListener("end", (event) => say({ end: JSON.parse(event.data) }));
source.onerror = () => {
  say({ state: source.readyState });
  if (source.readyState === EventSource.CLOSED) process.exit(0);
};
