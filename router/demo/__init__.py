"""The demo: recorded provider streams over real HTTP through a router to readers, checked at the end."""

from pathlib import Path

RECORDINGS = Path(__file__).resolve().parent / "recordings"
"""The recordings that come with the package; `index.json` there names their sources and licences."""
