"""The machine tracekit runs on: what it must have, how to get it, and who may do what.

Everything here needs the standard library alone, because it also installs the rest.
"""
