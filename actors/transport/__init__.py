"""How a call reaches an actor: through Ray, or on one node through a socket. The calls are the same."""
