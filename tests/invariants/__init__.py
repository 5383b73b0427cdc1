"""The numbered invariants of the design, one file each."""
