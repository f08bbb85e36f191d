// Reads a stream with the EventSource from npm in the place of Node's own.
import { EventSource } from "eventsource";

globalThis.EventSource = EventSource;
await import("../eventsource.mjs");
