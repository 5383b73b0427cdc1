"""Deleted files looked for with a carving tool of the distribution, and by their bytes."""
