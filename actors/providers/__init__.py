"""Provider adapters: the one place that knows what each provider's events look like.

`make_adapter("openai-chat")` gives an `Adapter`; `feed(event)` turns one decoded event into deltas.
"""
