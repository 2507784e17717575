"""Figures of the code's structure: rooms, names, duplication, and the path of one row.

    python eval/bench/house.py                 # everything but the traced row
    python eval/bench/house.py --row           # also one row through score_table (real small model)
    python eval/bench/house.py --diagram       # write the diagram of docs/architecture.md
    python eval/bench/house.py --check         # exit 1 if the imports differ from the diagram

Rooms are the packages of ``ecomfs/``; a module beside them counts as its own room. Every figure is
counted from the source with ``ast``, or with a profile function while one row is scored.
"""

from __future__ import annotations

import argparse
import ast
import collections
import os
import re
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ecomfs"
OPTION_FILES = ("core/options.py", "pipeline/options.py", "cli/options.py")


def modules(folder: Path = PACKAGE) -> dict[str, Path]:
    """Dotted name → file of every module."""
    out = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


def imports(path: Path, known: dict[str, Path], package: str = "ecomfs") -> set[str]:
    """Modules of the package that a file imports when it runs, also inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    out: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                out.add(full if full in known else str(node.module))
        elif isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names if alias.name.split(".")[0] == package}
    return out


def room(module: str) -> str:
    """The room of a module: the package below the root, or the loose module itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def room_graph() -> dict[str, set[str]]:
    """Room → rooms that it imports. The entry points ``__init__`` and ``__main__`` are left out."""
    known = modules()
    graph: dict[str, set[str]] = collections.defaultdict(set)
    for module, path in known.items():
        here = room(module)
        if here.startswith("__"):
            continue
        graph[here] |= {room(other) for other in imports(path, known)} - {here, "__init__"}
    return dict(graph)


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """The longest chain of imports between rooms, the topmost room first."""
    best: dict[str, list[str]] = {}

    def chain(name: str, above: tuple[str, ...] = ()) -> list[str]:
        if name not in best:
            below = [
                chain(other, (*above, name)) for other in graph.get(name, ()) if other not in above
            ]
            best[name] = [name, *max(below, key=len, default=[])]
        return best[name]

    return max((chain(name) for name in sorted(graph)), key=len)


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The graph without the arrows implied by longer paths (its transitive reduction)."""
    reach: dict[str, set[str]] = {}

    def below(name: str) -> set[str]:
        if name not in reach:
            reach[name] = set()
            for other in graph.get(name, ()):
                reach[name] |= {other} | below(other)
        return reach[name]

    return {
        name: {o for o in others if not any(o in below(p) for p in others if p != o)}
        for name, others in graph.items()
    }


def diagram() -> str:
    """The rooms and their imports as a Mermaid graph: an arrow means "imports"; imports that
    follow from others are left out, and so are ``types`` and ``errors``, which all may import."""
    graph = {
        name: others - {"types", "errors"}
        for name, others in room_graph().items()
        if name not in {"types", "errors"}
    }
    arrows = [
        f"    {name} --> {other}"
        for name, others in sorted(reduced(graph).items())
        for other in sorted(others)
    ]
    return "\n".join(["```mermaid", "graph TD", *arrows, "```"])


START, END = "<!-- rooms: made by eval/bench/house.py --diagram -->", "<!-- end of rooms -->"


def with_diagram(page: str) -> str:
    """The page with the current diagram between its two marks."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{diagram()}\n{END}{after}"


def doubled_names() -> dict[str, list[str]]:
    """Public names of classes and type aliases that are defined in more than one module."""
    where: dict[str, list[str]] = collections.defaultdict(list)
    for module, path in modules().items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            name = ""
            if isinstance(node, ast.ClassDef):
                name = node.name
            elif isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation):
                name = ast.unparse(node.target)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                target = node.targets[0].id
                if re.fullmatch(r"[A-Z][a-z]\w*", target):
                    name = target
            if name and not name.startswith("_"):
                where[name].append(module)
    return {name: places for name, places in where.items() if len(places) > 1}


def class_names() -> int:
    """Number of public classes."""
    return sum(
        isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        for path in modules().values()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    )


def exported() -> dict[str, list[str]]:
    """Room or package → the names in ``__all__`` of its ``__init__``."""
    out = {}
    for module, path in modules().items():
        if path.name != "__init__.py":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                out[module] = list(ast.literal_eval(node.value))
    return out


def without_example() -> list[str]:
    """Exported classes and functions whose docstring has no example that runs (``>>>``).

    A class counts as shown when its own docstring or that of one of its methods has one. An
    import alone is no example, and neither is what is marked ``+SKIP``. Aliases and constants need
    none.
    """
    runs = re.compile(r"^\s*>>> (?!from |import )(?!.*\+SKIP)", re.MULTILINE)
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    shown: dict[str, bool] = {}
    for path in modules().values():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | kinds):
                inner = [node, *(n for n in ast.walk(node) if isinstance(n, kinds))]
                has = any(runs.search(ast.get_docstring(n) or "") for n in inner)
                shown[node.name] = shown.get(node.name, False) or has
    names = {name for names in exported().values() for name in names}
    return sorted(name for name in names if name in shown and not shown[name])


def untested() -> list[str]:
    """Modules that no test imports, by their own name or through the package that exports them.

    A name that a test imports from a room counts for the module that defines it, through every
    ``__init__`` on the way. A CLI command that a test runs counts for its module.
    """
    known = modules()
    defined = {module: _definitions(path, known) for module, path in known.items()}
    seen: set[str] = set()

    def use(module: str, name: str = "") -> None:
        """Count the module, and the module that defines the name."""
        if f"{module}.{name}" in known:
            module, name = f"{module}.{name}", ""
        seen.add(module)
        if name in defined.get(module, {}):
            use(*defined[module][name])

    for path in (ROOT / "tests").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for module in re.findall(r"ecomfs(?:\.\w+)+", text):
            use(module)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ecomfs":
                for alias in node.names:
                    use(str(node.module), alias.name)
            elif "ecomfs.cli" in text:
                for name in _verbs(node):
                    if f"ecomfs.cli.{name}" in known:
                        use(f"ecomfs.cli.{name}")
    return sorted(m for m in known if m not in seen and known[m].name != "__init__.py")


def rooms_without_tests() -> list[str]:
    """Rooms that have no test file in the folder of their name, ``tests/ROOM/``."""
    rooms = (path.parent for path in PACKAGE.glob("*/__init__.py"))
    return sorted(p.name for p in rooms if not any((ROOT / "tests" / p.name).glob("test_*.py")))


def _verbs(node: ast.AST) -> list[str]:
    """Names of the modules behind a command line: a list of words, or the words of a call."""
    given = node.elts if isinstance(node, ast.List) else getattr(node, "args", None)
    words = [
        word.value.replace("-", "_")
        for word in (given if isinstance(given, list) else [])[:2]
        if isinstance(word, ast.Constant) and isinstance(word.value, str)
    ]
    return [*words, "_".join(words)]


def _definitions(path: Path, known: dict[str, Path]) -> dict[str, tuple[str, str]]:
    """Name → module and name that an ``__init__`` takes it from; empty for other modules."""
    if path.name != "__init__.py":
        return {}
    return {
        alias.asname or alias.name: (str(node.module), alias.name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in known
        for alias in node.names
    }


def lines(paths: list[Path]) -> int:
    """Lines of files."""
    return sum(path.read_text(encoding="utf-8").count("\n") for path in paths)


def option_plumbing() -> tuple[int, int]:
    """Lines that define or pass on options, and in how many files: those of :data:`OPTION_FILES`,
    and the constructors (or the fields behind them) of the classifiers whose options the table
    documents.
    """
    found = [PACKAGE / name for name in OPTION_FILES]
    count, files = lines(found), set(found)
    for path in modules().values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            decorators = [ast.unparse(d) for d in getattr(node, "decorator_list", ())]
            if isinstance(node, ast.ClassDef) and "documented" in decorators:
                made = [
                    n
                    for n in node.body
                    if isinstance(n, ast.AnnAssign) or getattr(n, "name", "") == "__init__"
                ]
                count += sum((n.end_lineno or n.lineno) - n.lineno + 1 for n in made)
                files.add(path)
    return count, len(files)


class Trace:
    """Records the calls in the package while it is active, in all threads."""

    def __init__(self, loop: bool = False) -> None:
        self.loop = loop
        self.files: set[str] = set()
        self.functions: set[tuple[str, str]] = set()
        self.calls: collections.Counter[tuple[str, str]] = collections.Counter()
        self.built: collections.Counter[str] = collections.Counter()
        self.moves = 0
        self._last = ""

    def __call__(self, frame: Any, event: str, _: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        name = code.co_filename
        if not name.startswith(str(PACKAGE)):
            if code.co_name == "__init__" and name.startswith("<"):  # of a dataclass
                kind = type(frame.f_locals.get("self"))
                if kind.__module__.startswith("ecomfs."):
                    self.built[kind.__qualname__] += 1
            elif code.co_name == "__new__" and name.startswith("<"):  # of a named tuple
                kind = frame.f_locals.get("_cls")
                if getattr(kind, "__module__", "").startswith("ecomfs."):
                    self.built[kind.__qualname__] += 1
            return
        if code.co_name.startswith("<"):
            return
        self.files.add(name)
        self.functions.add((name, code.co_qualname))
        self.calls[name, code.co_qualname] += 1
        self.moves += name != self._last
        self._last = name

    def __enter__(self) -> Trace:
        threading.setprofile(self)
        self._on_the_loop(self)
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        self._on_the_loop(None)
        threading.setprofile(None)

    def _on_the_loop(self, profile: Trace | None) -> None:
        from ecomfs.core.event_loop import background_loop

        if self.loop:
            background_loop().call_soon_threadsafe(sys.setprofile, profile)


def one_row() -> dict[str, Any]:
    """The path of one row through ``score_table``: a fitted classifier, k = 4, a real small model.

    Runs once with one row and once with two: what is built once more for the second row is a
    shape of a row, not of the run. Once more with one row, the event loop is followed too.
    """
    from ecomfs.batch import score_table
    from ecomfs.estimators import FewShotClassifier

    texts = [f"review {i}: it {'broke at once' if i % 2 else 'works very well'}" for i in range(24)]
    labels = ["negative" if i % 2 else "positive" for i in range(24)]
    # A reading that another run left in the cache would not pass the engine.
    os.environ["ECOMFS_CACHE"] = tempfile.mkdtemp()
    clf = FewShotClassifier(
        "review_sentiment",
        "gguf:smollm2",
        k=4,
        embedder="hashed",
        language="en",
        calibration_size=12,
    ).fit(texts, labels)
    pipeline, traces = clf.pipeline_, []
    with tempfile.TemporaryDirectory() as folder:
        runs = (["warm up"], ["a lovely hat"], ["a sad hat", "a new coat"], ["a kind word"])
        for number, rows in enumerate(runs):
            source = Path(folder) / f"{number}.csv"
            source.write_text("\n".join(["text", *rows]) + "\n")
            with Trace(loop=number == 3) as trace:
                score_table(str(source), Path(folder) / f"{number}.out.csv", pipeline)
            traces.append(trace)
    _, one, two, whole = traces
    shapes = sorted(name for name, n in two.built.items() if n > one.built[name])
    embeds = sum(n for (_, name), n in one.calls.items() if re.search(r"Embedder\.embed$", name))
    searches = sum(n for (_, name), n in one.calls.items() if re.search(r"Index\.search\w*$", name))
    return {
        "files": len(one.files),
        "functions": len(one.functions),
        "moves": one.moves,
        "whole": f"{len(whole.files)} / {len(whole.functions)} / {whole.moves}",
        "shapes": shapes,
        "embeds": embeds,
        "searches": searches,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--row", action="store_true", help="trace one row as well")
    parser.add_argument("--names", action="store_true", help="list the names behind the figures")
    parser.add_argument("--diagram", action="store_true", help="write docs/architecture.md")
    parser.add_argument("--check", action="store_true", help="compare docs/architecture.md")
    arguments = parser.parse_args()
    if arguments.diagram or arguments.check:
        page = ROOT / "docs" / "architecture.md"
        text = page.read_text(encoding="utf-8")
        wanted = with_diagram(text)
        if arguments.diagram:
            page.write_text(wanted, encoding="utf-8")
        elif wanted != text:
            sys.exit(f"{page.name}: the diagram is not what the imports say (make diagram)")
        return
    graph = room_graph()
    chain = longest_chain(graph)
    loose = sorted(p.stem for p in PACKAGE.glob("*.py") if p.stem not in {"__init__", "__main__"})
    doubled, bare, alone = doubled_names(), without_example(), untested()
    no_tests = rooms_without_tests()
    plumbing, plumbing_files = option_plumbing()
    source = list(PACKAGE.rglob("*.py"))
    harness = list((ROOT / "eval" / "ecomfs_eval").rglob("*.py"))
    skips = sum(p.read_text(encoding="utf-8").count("# fmt: skip") for p in [*source, *harness])
    names = {name for names in exported().values() for name in names}
    rows: list[tuple[str, Any]] = [
        ("rooms", len(graph)),
        ("floors: longest chain of imports between rooms", len(chain)),
        ("loose modules beside __init__ and __main__", f"{len(loose)} ({', '.join(loose)})"),
        ("names of classes and aliases defined in more than one module", len(doubled)),
        ("public classes", class_names()),
        ("lines of option definitions and plumbing", f"{plumbing} in {plumbing_files} files"),
        ("exported names without an example that runs", f"{len(bare)} of {len(names)}"),
        ("rooms without a folder of tests", len(no_tests)),
        ("modules that no test names", f"{len(alone)} of {len(modules())}"),
        ("# fmt: skip", skips),
        ("lines of ecomfs / ecomfs_eval", f"{lines(source)} / {lines(harness)}"),
    ]
    if arguments.row:
        found = one_row()
        rows += [
            (
                "one row: files / functions / moves between files",
                f"{found['files']} / {found['functions']} / {found['moves']}",
            ),
            ("the same with what runs on the event loop", found["whole"]),
            ("one row: times its text is embedded", found["embeds"]),
            ("one row: times the pool is searched for it", found["searches"]),
            ("one row: shapes it takes", f"{len(found['shapes'])} ({', '.join(found['shapes'])})"),
        ]
    print("| Figure | Value |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    if arguments.names:
        print("\nlongest chain:", " → ".join(chain))
        for name, places in sorted(doubled.items()):
            print(f"{name}: {', '.join(places)}")
        print("\nwithout an example:", ", ".join(bare))
        print("\nrooms without a folder of tests:", ", ".join(no_tests))
        print("\nno test names:", ", ".join(alone))


if __name__ == "__main__":
    main()
