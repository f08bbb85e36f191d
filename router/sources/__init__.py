"""Where chunks come from: HTTP providers, and recordings played from memory."""

from router.sources.http import HttpProviderError, HttpSource, HttpTimeouts
from router.sources.recorded import load_payloads, replay

__all__ = ["HttpProviderError", "HttpSource", "HttpTimeouts", "load_payloads", "replay"]
