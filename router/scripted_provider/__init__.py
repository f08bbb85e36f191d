"""The scripted provider: recorded streams over real HTTP, at a chosen pace and with chosen faults."""

from router.scripted_provider.library import Library, Recording
from router.scripted_provider.process import provider_process
from router.scripted_provider.script import Script
from router.scripted_provider.serve import serve

__all__ = ["Library", "Recording", "Script", "provider_process", "serve"]
