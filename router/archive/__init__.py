"""The archive: ended requests as Parquet in a folder or an object store, for as long as one likes.

plan.py       what is written when, into which day, under which name         pure
rows.py       the log of an ended request as a row                          pure
table.py      rows as Parquet, and the schema
store.py      the folder or object store
archivist.py  writes and finds; a Ray actor beside each router
query.py      SQL over all of it
"""
