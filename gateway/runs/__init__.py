"""Running agents for clients, in actors that go on when a gateway does not."""
