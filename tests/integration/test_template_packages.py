"""What is uploaded: every layer and function, built as for a deployment, unpacked, and used by a clean interpreter."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.packages import PROJECT, build_all, load_template

TEMPLATE = load_template()
LIMIT = 150 * 1024 * 1024
UNCHECKED_HASH = 0b01
FUNCTIONS = [name for name, entry in TEMPLATE["Resources"].items() if entry["Type"] == "AWS::Serverless::Function"]
LAYERS = [name for name, entry in TEMPLATE["Resources"].items() if entry["Type"] == "AWS::Serverless::LayerVersion"]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each layer and function."""
    folders = {}
    for name, archive in build_all(TEMPLATE).items():
        folders[name] = tmp_path_factory.mktemp(name)
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(folders[name])
    return folders


def folder_of(function: str) -> str:
    """The function's folder below `functions/`."""
    return str(TEMPLATE["Resources"][function]["Properties"]["Handler"]).split(".")[1]


def layers_of(function: str) -> list[str]:
    properties = TEMPLATE["Resources"][function]["Properties"]
    return [layer["Ref"] for layer in TEMPLATE["Globals"]["Function"]["Layers"] + properties.get("Layers", [])]


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def state(*folders: Path) -> dict[Path, tuple[int, int]]:
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def clean_interpreter(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    """Run code with the standard library and `path` only, free to write bytecode, telling where code comes from."""
    setup = f"import sys; sys.path[:0] = {[str(folder) for folder in path]!r}\n"
    environment = {"AWS_DEFAULT_REGION": "eu-central-1", "PATH": "/usr/bin:/bin", "PYTHONVERBOSE": "1"}
    command = [sys.executable, "-S", "-s", "-c", setup + code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd="/")


def compiled_anew(verbose: str, *folders: Path) -> list[str]:
    """Sources below the folders that the interpreter had to compile."""
    found = re.findall(r"^# code object from (?!')(\S+\.py)$", verbose, re.MULTILINE)
    return [path for path in found if any(Path(path).is_relative_to(folder) for folder in folders)]


@pytest.mark.parametrize("name", LAYERS + FUNCTIONS)
def test_every_source_has_bytecode_that_no_clock_can_void(unpacked: dict[str, Path], name: str) -> None:
    sources = list(unpacked[name].rglob("*.py"))
    assert sources
    for source in sources:
        bytecode = Path(importlib.util.cache_from_source(str(source))).read_bytes()
        assert bytecode[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(bytecode[4:8], "little") == UNCHECKED_HASH, source
        assert bytecode[8:16] == importlib.util.source_hash(source.read_bytes()), source


@pytest.mark.parametrize("name", LAYERS)
def test_a_clean_interpreter_imports_from_the_layer_and_compiles_nothing(unpacked: dict[str, Path], name: str) -> None:
    path = [unpacked[layer] / "python" for layer in LAYERS]
    before = state(*path)
    own = [folder.name for folder in (unpacked[name] / "python").iterdir() if (folder / "__init__.py").exists()]
    modules = sorted(own)
    if "paydown" in own:
        package = unpacked[name] / "python/paydown"
        modules += [
            ".".join(("paydown", *file.relative_to(package).with_suffix("").parts))
            for file in sorted(package.rglob("*.py"))
            if file.name != "__init__.py"
        ]
    done = clean_interpreter("".join(f"import {module}\n" for module in modules) + "print('imported')", *path)
    assert done.stdout == "imported\n", done.stderr[-2000:]
    assert "# code object from '" in done.stderr  # that is how it tells of bytecode that it took
    assert compiled_anew(done.stderr, *path) == []
    assert state(*path) == before


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_handler_is_found_and_compiles_nothing(unpacked: dict[str, Path], name: str) -> None:
    path = [unpacked[name], *(unpacked[layer] / "python" for layer in layers_of(name))]
    before = state(*path)
    module, _, handler = TEMPLATE["Resources"][name]["Properties"]["Handler"].rpartition(".")
    done = clean_interpreter(f"import {module} as module; print(callable(module.{handler}))", *path)
    assert done.stdout == "True\n", done.stderr[-2000:]
    assert compiled_anew(done.stderr, *path) == []
    assert state(*path) == before


def test_the_interpreter_would_have_told_of_a_compilation(tmp_path: Path) -> None:
    """The two tests above believe its words, so these are tested too."""
    (tmp_path / "fresh.py").write_text("value = 1\n")
    done = clean_interpreter("import fresh", tmp_path)
    assert compiled_anew(done.stderr, tmp_path) == [str(tmp_path / "fresh.py")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_with_its_layers_stays_small(unpacked: dict[str, Path], name: str) -> None:
    assert size(unpacked[name]) + sum(size(unpacked[layer]) for layer in layers_of(name)) < LIMIT


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_ships_its_own_folder_only(unpacked: dict[str, Path], name: str) -> None:
    folder = folder_of(name)
    top = {path.relative_to(unpacked[name]).parts[:2] for path in unpacked[name].rglob("*.py")}
    ours = {parts for parts in top if parts[0] == "functions"}
    assert ours == {("functions", "__init__.py"), ("functions", folder)}
    assert top == ours or (PROJECT / "functions" / folder / "requirements.txt").exists()


def test_a_base_is_built_by_the_documents_that_the_function_brings(unpacked: dict[str, Path]) -> None:
    """Over a socket no SSM has them."""
    folder = "functions/refresh_base_image/documents"
    ours = {path.name: path.read_bytes() for path in (PROJECT / folder).glob("*.json")}
    assert {path.name: path.read_bytes() for path in (unpacked["RefreshBaseImage"] / folder).iterdir()} == ours
    assert "build_base_image.json" in ours


def test_the_layers_bring_everything_that_the_code_imports(unpacked: dict[str, Path]) -> None:
    """Also what is imported inside functions, when an event needs it."""
    provided = {entry.name.split(".")[0] for layer in LAYERS for entry in (unpacked[layer] / "python").iterdir()} | set(
        sys.stdlib_module_names
    )
    own = {folder_of(name): {entry.name for entry in unpacked[name].iterdir()} for name in FUNCTIONS}
    functions = list(PROJECT.glob("functions/**/*.py"))
    for source in (*PROJECT.glob("layers/shared/paydown/**/*.py"), *functions):
        missing = set(imported(ast.parse(source.read_text()))) - provided - {"functions"}
        if not missing:
            continue
        place = source.relative_to(PROJECT)
        if place.parts[0] == "functions":
            users = {place.parts[1]}
        else:  # a client of the layer whose library is large: the functions that use it ship it themselves
            module = ".".join(source.relative_to(PROJECT / "layers/shared").with_suffix("").parts)
            users = {one.relative_to(PROJECT).parts[1] for one in functions if module in one.read_text()}
        assert users, source
        assert all(missing <= own[user] for user in users), (source, missing)


def imported(tree: ast.Module) -> Iterator[str]:
    """The top-level packages that a module imports when it runs, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def test_botocore_knows_the_services_that_the_code_asks_for(unpacked: dict[str, Path]) -> None:
    known = {path.name for path in (unpacked["SharedLayer"] / "python/botocore/data").iterdir() if path.is_dir()}
    asked = set()
    for source in (*PROJECT.glob("layers/shared/paydown/**/*.py"), *PROJECT.glob("functions/**/*.py")):
        asked |= set(re.findall(r"\bclient\(\"([a-z0-9-]+)\"", source.read_text()))
    assert asked
    assert asked <= known
    assert len(known) < 20
