"""Requests as a person sees them, live."""
