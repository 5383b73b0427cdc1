"""The demonstration: deletion in a log-structured store, shown on real files.

``files`` chooses what is stored and ``plan`` on how large a drive; ``story`` does the work, with
``archive`` and ``search``; ``claims`` judges what it found; ``screen`` and ``picture`` show it; ``run``
calls them in order. Everything uses the store through its public names alone.
"""
