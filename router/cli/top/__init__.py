"""`stream-router top` on a terminal: a live view of a service, with keys.

keys.py   what a terminal sends, as keys                                                     pure
board.py  what keys do: select, sort, filter, view, cancel                                   pure
live.py   the view itself: looks, draws, follows one request
"""
