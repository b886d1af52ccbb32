"""Reading the imports of the repository's own modules, for the tests that watch them."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


def imports(path: Path) -> set[str]:
    """Every module name that a source file imports, wherever the import stands in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def local_imports(path: Path) -> set[Path]:
    """The repository's own files among them, relative to its root."""
    found = set()
    for name in imports(path):
        if name.split(".")[0] in ("retrace", "stages"):
            file = Path(*name.split(".")).with_suffix(".py")
            if (ROOT / file).is_file():
                found.add(file)
    return found


def reachable(start: set[Path], exempt: set[Path]) -> set[Path]:
    """All own files that `start` leads to, through no exempt one."""
    seen: set[Path] = set()
    todo = set(start)
    while todo:
        file = todo.pop()
        seen.add(file)
        todo |= local_imports(ROOT / file) - exempt - seen
    return seen
