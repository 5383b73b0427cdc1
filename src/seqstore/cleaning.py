"""The cleaning policies by name: which segment is cleaned next, and where what still lives in it goes."""

from __future__ import annotations

from seqstore.errors import ConfigError

SELECTIONS = ("fifo",)
PLACEMENTS = ("single",)


def check_policy(selection: str, placement: str) -> None:
    """Refuse a policy that does not exist.

    Parameters
    ----------
    selection : str
        ``"fifo"`` cleans the oldest segment, whatever still lives in it: the circular log.
    placement : str
        ``"single"`` appends what users write and what the cleaner moves to the same segment.

    Raises
    ------
    ConfigError
        If either is no name of an existing policy.
    """
    for option, value, known in (("selection", selection, SELECTIONS), ("placement", placement, PLACEMENTS)):
        if value not in known:
            raise ConfigError(f"{option} is {value!r}; there is {', '.join(map(repr, known))}")
