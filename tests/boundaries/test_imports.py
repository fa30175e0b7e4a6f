"""Imports point one way, and what is heavy is imported by those alone who use it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKSHOP, EXPORT, RUNTIME = (
    ROOT / folder for folder in ("edgetune", "export/edgetune_export", "runtime/python/edgetune_runtime")
)
FILES = sorted(path for package in (WORKSHOP, EXPORT, RUNTIME) for path in package.rglob("*.py"))

LAYERS = (
    {"errors"},
    {"config", "metrics", "output"},
    {"data", "models", "signing"},
    {"methods"},
    {"adapter"},
    {"peft", "training"},
    {"together"},
    {"evaluation"},
    {"bench"},
    {"sweep"},
    {"comparison"},
    {"reports"},
    {"demo"},
    {"terminal"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
"""Parts of edgetune, the lowest first: each imports itself and what stands above it here."""

HEAVY = {"torch", "transformers", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "optimum", "datasets", "pyarrow"}
MAY_EXPORT = {"cli", "commands", "demo"}
ON_THE_DEVICE = {"numpy", "onnxruntime", "tokenizers", "safetensors", "typing_extensions"}
EXTRAS = {"llguidance", "jinja2", "cryptography"}
"""Extras of the runtime's: imported inside the function that needs them."""
MOST_LINES = 300


def imports(tree: ast.AST, *, lazy: bool = True) -> Iterator[str]:
    """Full names of imported modules, but for those under `if TYPE_CHECKING`; without `lazy` at module level alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from (name for other in node.orelse for name in imports(other, lazy=lazy))
        elif lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports(node, lazy=lazy)


def imported(path: Path, *, lazy: bool = True) -> set[str]:
    return set(imports(ast.parse(path.read_text("utf-8")), lazy=lazy))


def packages(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def part_of(path: Path) -> str:
    """`commands` for edgetune/commands/run.py, `cli` for edgetune/cli.py."""
    return path.relative_to(WORKSHOP).parts[0].removesuffix(".py")


def parts_imported(path: Path) -> set[str]:
    names = {name.split(".")[1] for name in imported(path) if name.startswith("edgetune.")}
    return names - {"__version__"}


def modules_after(code: str) -> set[str]:
    """Names of the packages that a fresh interpreter holds after running `code`."""
    program = f"import sys\n{code}\nprint(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return packages(set(done.stderr.split()))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sorted(RUNTIME.rglob("*.py")), ids=named)
def test_the_runtime_imports_what_it_depends_on_and_nothing_else(path):
    foreign = packages(imported(path)) - sys.stdlib_module_names
    assert foreign <= ON_THE_DEVICE | EXTRAS
    assert not packages(imported(path, lazy=False)) & EXTRAS


@pytest.mark.parametrize("path", sorted(WORKSHOP.rglob("*.py")), ids=named)
class TestWorkshop:
    def test_imports_only_from_layers_below(self, path):
        rank = {part: i for i, layer in enumerate(LAYERS) for part in layer}
        own = part_of(path)
        if own == "__init__":
            assert not parts_imported(path)
            return
        assert own in rank, f"{own} has no place in LAYERS yet"
        assert not {part for part in parts_imported(path) - {own} if rank[part] >= rank[own]}

    def test_exports_only_from_commands(self, path):
        assert "edgetune_export" not in packages(imported(path)) or part_of(path) in MAY_EXPORT


@pytest.mark.parametrize("path", [WORKSHOP / "cli.py", *sorted((WORKSHOP / "commands").glob("*.py"))], ids=named)
def test_a_command_imports_nothing_heavy_before_it_runs(path):
    assert not packages(imported(path, lazy=False)) & HEAVY


@pytest.mark.parametrize("path", sorted(EXPORT.rglob("*.py")), ids=named)
def test_export_knows_no_command(path):
    assert not parts_imported(path) & {"cli", "commands", "demo", "reports"}


@pytest.mark.parametrize("command", ["", "train", "run"])
def test_help_waits_for_nothing_heavy(command):
    arguments = [*command.split(), "--help"]
    assert not modules_after(f"from edgetune.cli import main\nmain({arguments!r})") & (HEAVY | {"numpy"})


@pytest.mark.parametrize("bundle", ["encoder-shared", "decoder-shared", "decoder-standalone"])
def test_loading_and_answering_needs_the_device_packages_alone(bundle):
    folder = str(ROOT / "tests" / "golden" / bundle)
    answer = "classify" if bundle.startswith("encoder") else "generate"
    loaded = modules_after(f"import edgetune_runtime\nedgetune_runtime.load({folder!r}).{answer}([3, 4])")
    assert not loaded & ((HEAVY | {"click", "rich", "edgetune", "edgetune_export"} | EXTRAS) - {"onnxruntime"})
    assert "onnxruntime" in loaded


@pytest.mark.parametrize("path", FILES, ids=named)
class TestModule:
    def test_says_in_its_first_line_what_it_is(self, path):
        assert (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").strip()

    def test_is_under_three_hundred_lines(self, path):
        assert len(path.read_text("utf-8").splitlines()) < MOST_LINES
