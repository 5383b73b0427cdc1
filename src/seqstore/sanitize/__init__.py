"""Sanitization of drives: the pass over all that a drive holds, and the reading that checks it."""
