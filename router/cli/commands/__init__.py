"""The commands, one file each.

Each module here is a command: a function `command` (its parameters are the arguments and options,
its docstring the help), a `PANEL`, the heading under which `--help` lists it, and `EXAMPLES`. The
command bears the module's name. What a command needs beyond the standard library is imported in the
function, so that `--help` and the other commands stay quick.
"""
