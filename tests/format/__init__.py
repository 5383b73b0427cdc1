"""Tests of the format: the reader in Python, the specification, and the engine, each against the others."""
