"""The kit as a state machine of Hypothesis, for suites that have others.

It does the same steps through the same interpreter as `check_isolation`. Drawing them costs more, and
Hypothesis's own shrinking, database and settings apply.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from seqstore.testing.interpret import Run
from seqstore.testing.judge import Finding
from seqstore.testing.narrate import Narrator
from seqstore.testing.protocol import BlockStore, Capabilities, boundaries_of
from seqstore.testing.report import IsolationViolation
from seqstore.testing.steps import Step
from seqstore.testing.strategies import commands, steps


def isolation_machine(factory: Callable[[], BlockStore]) -> type[RuleBasedStateMachine]:
    """Return a state machine class, with a rule for each command that the adapter offers.

    Parameters
    ----------
    factory : callable
        Returns a fresh, empty store each time; see `BlockStore`.

    Returns
    -------
    type of RuleBasedStateMachine
        ``TestIsolation = isolation_machine(factory).TestCase`` is a test; it raises `IsolationViolation`.

    Raises
    ------
    AdapterError
        If the adapter does not keep to the protocol.
    """
    store: Any = factory()
    capabilities = Capabilities.of(store)
    with closing(store) if capabilities.close else nullcontext():
        block_size, boundaries = store.block_size, boundaries_of(store)
    drawn = {
        name: steps(name, block_size=block_size, boundaries=boundaries) for name in commands(capabilities)
    }
    members: dict[str, Any] = {name: rule(step=strategy)(_do(name)) for name, strategy in drawn.items()}
    members["first_volume"] = initialize(step=drawn["create"])(_do("first_volume"))
    members["factory"] = staticmethod(factory)
    return type("IsolationMachine", (_Machine,), members)


def _do(name: str) -> Callable[[_Machine, Step], None]:
    def do(self: _Machine, step: Step) -> None:
        self.do_step(step)

    # Hypothesis tells rules apart, and prints them, by these names.
    do.__name__ = do.__qualname__ = name
    return do


class _Machine(RuleBasedStateMachine):
    """What all of them have in common."""

    factory: Callable[[], BlockStore]

    def __init__(self) -> None:
        super().__init__()
        self._narrator = Narrator()
        self._store: Any = self.factory()
        self._session = Run(self._store, nonce=1, narrator=self._narrator)
        self._failed = False

    def do_step(self, step: Step) -> None:
        """Do one step."""
        self._guard(lambda: self._session.do(step))

    def teardown(self) -> None:
        """Read everything once more, and close the store."""
        with closing(self._store) if self._session.capabilities.close else nullcontext():
            if not self._failed:
                self._guard(self._session.finish)

    def _guard(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Finding as finding:
            self._failed = True
            raise IsolationViolation(
                finding,
                story=(*self._narrator.sentences, finding.text),
                seed=None,
                code=self._narrator.code(finding, self._session.block_size),
                repeat="the steps that Hypothesis prints",
            ) from finding.__cause__
