"""The layers of the design: reads every import of the package and says which one points up.

A module may import from its own layer and from those below, never in a circle. Imports for type checkers
alone (``if TYPE_CHECKING:``) may point anywhere: at run time they are not there.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"

# From the top down; a name stands for a module or for all modules of a package.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("demo",),
    (
        "frontends", "sim", "testing", "report", "inspect", "forensics",
        "statement_page", "evidence_commands", "paper", "html_page", "certificate_page", "certificate_pdf",
        "certificate_batch", "certificate_commands", "command_parts", "sanitize_commands", "sanitize_screen",
    ),
    ("",),  # seqstore/__init__.py, through which everything above gets what it needs
    ("store",),
    (
        "options", "open_store", "opening", "opening_folder", "making", "encryption", "key_source", "probe",
        "folder", "recovery", "scrub", "settling", "drive_keeper", "drives_store", "parts",
        "drive_sanitizer", "scrubbing_store",
    ),
    (
        "deletion", "sanitize", "certificate", "tenants", "audit", "keys", "registry", "erasures", "evidence",
        "account", "statement", "statement_check", "copies", "copy_table", "matching", "promise",
        "bookkeeping", "audit_records", "find", "key_keeper", "epochs", "deletion_table", "erasing",
        "notebook", "timeline", "deleting_store", "shared", "kept", "evidence_book", "fleet", "placing",
        "families", "moving", "departures", "equalizing", "emptying", "erasing_log", "certificate_parts",
        "certificate_rules", "certificate_content", "certificate_check", "certify", "drive_health", "signed",
        "owners", "unseen", "erasure_table", "issuing", "standing", "following", "copying", "loosening",
        "resuming", "renewals", "renewing",
    ),
    (
        "volume", "snapshot", "view", "volume_io", "drive", "drive_acts", "cleaning", "stats", "extents",
        "losses",
    ),
    ("route", "drive_facts"),
    ("engine", "engine_volume", "engine_deletion", "engine_mirror"),
    ("media",),
    ("_native", "format"),
    (
        "catalog", "database", "directory", "schema", "canonical", "signing", "runs", "drive_life",
        "placements", "copy_rows",
    ),
    ("errors", "units", "arguments", "clock", "values", "version"),
)  # fmt: skip
FRONT_ENDS = {name for layer in LAYERS[:4] for name in layer}

TOUCHES_C = ("engine", "engine_volume", "engine_deletion", "engine_mirror", "media", "_native")
ALLOWED_PACKAGES = {"numpy", "cffi"}
# What an extra brings, and one module imports where it is used.
EXTRAS = {"seqstore.signing": {"cryptography"}}
# The clock, randomness, the environment and the network are passed in below the front ends.
FORBIDDEN_MODULES = {"datetime", "random", "secrets", "socket", "time", "uuid", "numpy.random"}
FORBIDDEN_NAMES = {"os.environ", "os.getenv", "os.urandom", "np.random", "numpy.random"}
# Three modules are where they come from: the clock that reads the time, the options of a store, which draw
# the identity of a new drive, and the providers of root keys, one of which asks the environment. The store
# chooses that clock where it is given none, and so do the commands that work without a store.
ALLOWED = {
    "seqstore.clock": {"time"},
    "seqstore.options": {"os.urandom"},
    "seqstore.keys.providers": {"os.environ"},
}
SYSTEM_CLOCK = "SystemClock"
CHOOSES_IT = {"seqstore.store", "seqstore.sanitize_commands", "seqstore.certificate_commands"}
# Runs when the package is built, never when it is used.
BUILD_SCRIPT = "seqstore._native.build"


@dataclass(slots=True)
class Module:
    """What one source file imports when it runs, and the names it uses."""

    name: str
    tree: ast.Module
    imports: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    @property
    def part(self) -> str:
        """The component of the package that the layers are made of."""
        return part_of(self.name)

    @property
    def is_front_end(self) -> bool:
        return self.part in FRONT_ENDS


def part_of(module: str) -> str:
    return module.removeprefix("seqstore").removeprefix(".").partition(".")[0]


def rank(part: str) -> int:
    """Height of a component: 0 is the top layer."""
    for height, layer in enumerate(LAYERS):
        if part in layer:
            return height
    raise AssertionError(f"seqstore.{part} stands in no layer; give it one in LAYERS and in the design")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def walk_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree as `ast.walk` does, without what only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            continue
        yield child
        yield from walk_run_time(child)


def imported(node: ast.ImportFrom | ast.Import, known: set[str]) -> Iterator[str]:
    """Yield the modules that an import statement names; ``from package import module`` names a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    assert node.level == 0, f"line {node.lineno}: a relative import; write the whole name"
    assert node.module is not None
    for alias in node.names:
        inner = f"{node.module}.{alias.name}"
        yield inner if inner in known else node.module


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def read_modules() -> dict[str, Module]:
    paths = {module_name(path): path for path in sorted((SOURCE / "seqstore").rglob("*.py"))}
    known = {*paths, "seqstore._native._core"}
    modules = {}
    for name, path in paths.items():
        module = Module(name, ast.parse(path.read_text("utf-8"), str(path)))
        for node in walk_run_time(module.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module.imports.update(imported(node, known))
            elif isinstance(node, ast.Attribute | ast.Name):
                module.names.add(ast.unparse(node))
        modules[name] = module
    return modules


MODULES = read_modules()
PARAMETERS = [pytest.param(module, id=name) for name, module in MODULES.items() if name != BUILD_SCRIPT]
each_module = pytest.mark.parametrize("module", PARAMETERS)


def test_the_package_was_read() -> None:
    assert {"seqstore", "seqstore.store", "seqstore.engine", "seqstore.errors"} <= MODULES.keys()
    assert "seqstore.errors" in MODULES["seqstore.engine"].imports


@each_module
def test_imports_point_down(module: Module) -> None:
    inner = {name for name in module.imports if name.split(".")[0] == "seqstore"}
    assert {name for name in inner if rank(part_of(name)) < rank(module.part)} == set()


def test_imports_go_in_no_circle() -> None:
    graph = {name: (module.imports & MODULES.keys()) - {name} for name, module in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@each_module
def test_only_the_lowest_layers_touch_c(module: Module) -> None:
    mentions = {"ffi", "lib"} & module.names
    mentions |= {name for name in module.imports if name.startswith(("seqstore._native._core", "cffi"))}
    assert module.part in TOUCHES_C or mentions == set()


@each_module
def test_nothing_below_the_front_ends_reads_the_world_outside(module: Module) -> None:
    if not module.is_front_end:
        used = (FORBIDDEN_MODULES & module.imports) | (FORBIDDEN_NAMES & module.names)
        assert used == ALLOWED.get(module.name, set())


@each_module
def test_hardly_anybody_chooses_a_clock(module: Module) -> None:
    assert (SYSTEM_CLOCK in module.names) == (module.name in CHOOSES_IT)


@each_module
def test_the_core_needs_numpy_and_cffi_alone(module: Module) -> None:
    packages = {name.split(".")[0] for name in module.imports} - {"seqstore", *sys.stdlib_module_names}
    assert module.is_front_end or packages <= ALLOWED_PACKAGES | EXTRAS.get(module.name, set())
