"""What a stream actor holds: the sessions of its requests, with their logs, timers and readers."""
