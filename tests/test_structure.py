"""The rooms of the house: nobody imports upwards, diffusers stays in `models`, and `--help` is light."""

from __future__ import annotations

import ast
import configparser
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import wmark
from wmark.cli import COMMANDS, main

ROOT = Path(wmark.__file__).parent

FLOORS: list[set[str]] = [
    {"__main__"},
    {"cli"},
    {"commands"},
    {"serve", "reports"},
    {"audit", "benchmarks", "training"},
    {"ledger", "detectors"},
    {"inversion", "attacks", "provenance"},
    {"watermark", "models"},
    {"errors", "files", "images", "version", "progress", "figures"},
]
"""Who may import whom: everybody what is below, nobody what is above."""

BESIDE = {("training", "benchmarks"), ("watermark", "models")}
"""Who may import a room of the same floor; root modules may as well. `watermark` is handed a model, to embed."""

FOREIGN = {"diffusers", "transformers"}


def packages() -> list[str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser["options"]["packages"].split()


def modules() -> dict[str, Path]:
    """Every module that is shipped, by its name without `wmark`."""
    found = {}
    for package in packages():
        folder = ROOT.joinpath(*package.split(".")[1:])
        for path in folder.glob("*.py"):
            parts = [*package.split(".")[1:], *([] if path.stem == "__init__" else [path.stem])]
            found[".".join(parts)] = path
    return found


def imports(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """What a module imports, anywhere in it, and the line: ours without `wmark`, others' with a slash."""
    parts = module.split(".") if module else []
    package = parts if path.stem == "__init__" else parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (("/" + alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield "/" + node.module, node.lineno
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield (
                    ".".join([*above, alias.name] if ".".join([*above, alias.name]) in MODULES else above),
                    node.lineno,
                )


MODULES = modules()
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}


def room(module: str) -> str:
    return module.partition(".")[0]


def allowed(importer: str, imported: str) -> bool:
    if importer == imported or FLOOR[importer] < FLOOR[imported]:
        return True
    same = FLOOR[importer] == FLOOR[imported]
    return same and ((importer, imported) in BESIDE or FLOOR[importer] == len(FLOORS) - 1)


def test_every_room_has_its_floor():
    assert {room(module) for module in MODULES if module} <= FLOOR.keys()


def test_nothing_imports_upwards():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported or 'wmark'}"
        for module, path in MODULES.items()
        if module
        for imported, line in imports(module, path)
        if not imported.startswith("/") and not (imported and allowed(room(module), room(imported)))
    ]
    assert not wrong


def test_our_own_imports_are_relative():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported[1:]}"
        for module, path in MODULES.items()
        for imported, line in imports(module, path)
        if imported.startswith("/wmark")
    ]
    assert not wrong


def test_diffusers_is_imported_in_models_alone():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported[1:]}"
        for module, path in MODULES.items()
        if room(module) != "models"
        for imported, line in imports(module, path)
        if imported.startswith("/") and imported[1:].partition(".")[0] in FOREIGN
    ]
    assert not wrong


def test_every_folder_of_the_package_is_shipped():
    hidden = {"tests", "build", "dist"}
    folders = {
        ".".join(["wmark", *path.parent.relative_to(ROOT).parts])
        for path in ROOT.rglob("__init__.py")
        if not hidden & set(path.relative_to(ROOT).parts) and not path.relative_to(ROOT).parts[0].startswith(".")
    }
    assert folders == set(packages())


def commands(group, names: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield names
    context = group.make_context("wmark", [], resilient_parsing=True)
    for name in getattr(group, "list_commands", lambda context: [])(context):
        yield from commands(group.get_command(context, name), (*names, name))


LIGHT = """
import sys
from wmark.cli import main
for arguments in {arguments!r}:
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, arguments
heavy = {{"torch", "diffusers", "transformers", "scipy", "matplotlib", "sklearn", "c2pa", "cryptography"}}
heavy = heavy & set(sys.modules) - {{*{allowed!r}}}
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""


def is_light(commands: Sequence[Sequence[str]], *allowed: str) -> None:
    code = LIGHT.format(arguments=commands, allowed=allowed)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr


def test_help_of_every_command_is_light():
    everything = list(commands(main))
    assert {names[0] for names in everything if names} == set(COMMANDS)
    assert len(everything) > 20
    is_light([[*names, "--help"] for names in everything])


def test_keys_are_kept_without_torch(tmp_path):
    """Whoever makes, shows and gives out keys does not wait for what they are tested with."""
    at = ["--keyring", str(tmp_path / "ring.json")]
    issuer = ["keys", "issuer", "create", "studio", "-o", str(tmp_path / "studio.json")]
    is_light([["keys", "create", "--id", "a", *at], ["keys", "list", *at], [*issuer, *at]], "scipy")


def parameters(function: ast.FunctionDef) -> int:
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([argument for argument in every if argument.arg not in ("self", "cls")])


def test_no_walls_of_parameters():
    """Values stand in place of the ninth parameter; a command takes its options as they come."""
    walls = {
        f"{path.relative_to(ROOT).as_posix()} {node.name}"
        for module, path in MODULES.items()
        if room(module) != "commands"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and parameters(node) > 8
    }
    assert not walls
