"""The scripted provider: recorded streams over real HTTP, at a chosen pace and with chosen faults."""

from router.provider.process import provider_process
from router.provider.recordings import Library, Recording
from router.provider.script import Script
from router.provider.serve import serve

__all__ = ["Library", "Recording", "Script", "provider_process", "serve"]
