"""Requests found by what was said of them."""
