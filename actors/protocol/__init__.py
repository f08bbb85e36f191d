"""The one book of words: all that crosses from one process to another, and the rules of sending it.

| file | what |
| --- | --- |
| `frames.py` | bytes: packing, unpacking, their limits; how a shape is checked |
| `items.py` | what a publisher says: chunks, and records cut into parts |
| `envelopes.py` | what goes down: items from publisher to router to stream actor, and the router's orders |
| `states.py` | what comes back: an actor's reports, a router's news to its clients |
| `calls.py` | what a client asks of a router |
| `reads.py` | what a reading process and a stream actor say to each other |
| `segments.py` | messages in the form in which they cross and are stored |
| `lane.py` | one call in flight: who may send next, and how much |
| `deadlines.py`, `backoff.py` | when to look again, when to try again |

Pure, and at the bottom of the house: it imports `actors.errors` and nothing else of the product.
"""
