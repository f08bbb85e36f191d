"""One request's world: provider events in, numbered messages out, held by a stream actor on Ray."""
