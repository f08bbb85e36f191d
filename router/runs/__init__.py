"""`stream-router run`: requests from a file to a real provider, their messages to a file.

endpoint.py   where the provider is, which API it speaks, whose key
requests.py   the request file, checked as a whole                       pure
bodies.py     one request as each API wants it                           pure
retries.py    when to ask again, and how long to wait                    pure
output.py     the messages' file, and what of it need not be asked again
parquet.py    the same as Parquet, where that is wanted
source.py     asks the provider and publishes what it says; a Ray actor
config.py, runner.py
all of it together
"""
