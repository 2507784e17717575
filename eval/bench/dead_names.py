"""Finds names that no code of the packages uses: only tests, benches or an ``__all__`` do.

    python eval/bench/dead_names.py        # exit status 1 if there is one

Runs vulture on a copy of ``ecomfs`` and ``ecomfs_eval`` without imports and ``__all__``, so that an
export does not count as a use. Names that users, frameworks or scikit-learn call are listed in
:data:`ALLOWED`, with the reason.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("ecomfs", "eval/ecomfs_eval")

ALLOWED: dict[str, str] = {
    "__call__": "Python calls it",
    "__dir__": "Python calls it",
    "__getattr__": "Python calls it",
    "model_config": "pydantic reads it",
    "readinto": "io.RawIOBase calls it",
    "Client": "users import it",
    "EcomfsAccessor": "pandas registers it",
    "MultiLabelClassifier": "users import it",
    "TaxonomyClassifier": "users import it",
    "compare": "users import it",
    "GgufEngine": "the engine factory loads it by name",
    "LiteLlmEngine": "the engine factory loads it by name",
    "TransformersEngine": "the engine factory loads it by name",
    "VllmLocalEngine": "the engine factory loads it by name",
    "predict": "scikit-learn and users call it",
    "aclassify": "users with an event loop of their own call it",
    "call_binop": "Jinja calls it",
    "emit": "logging calls it",
    "aadd_examples": "users call it, as the client's other methods",
    "aexplain": "users call it, as the client's other methods",
    "ahistory": "users call it, as the client's other methods",
    "apredict": "users call it, as the client's other methods",
    "apredict_proba": "users call it, as the client's other methods",
    "aretire": "users call it, as the client's other methods",
    "ascore_table": "users call it, as the client's other methods",
    "asecond_opinion": "users call it, as the client's other methods",
    "askip": "users call it, as the client's other methods",
    "atasks": "users call it, as the client's other methods",
    "adecide": "users call it, as the client's other methods",
    "aexamples": "users call it, as the client's other methods",
    "arelabel": "users call it, as the client's other methods",
    "areviews": "users call it, as the client's other methods",
    "asend_to_review": "users call it, as the client's other methods",
    "aundo": "users call it, as the client's other methods",
    "second_opinion": "users call it, as the client's other methods",
    "retrieve": "users, benches and tests look up demonstrations in one call",
}
DECORATED = re.compile(
    r"\.(command|callback|get|post|put|delete|middleware|exception_handler"
    r"|listens_for|websocket)\b|validator|on_event"
)


def strip(source: str) -> str:
    """Source without imports, ``__all__`` and functions that a decorator registers."""
    tree = ast.parse(source)

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
            self.generic_visit(node)
            if any(DECORATED.search(ast.unparse(d)) for d in node.decorator_list):
                node.name = f"_registered_{node.name}"
            return node

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
            self.generic_visit(node)
            if any(DECORATED.search(ast.unparse(d)) for d in node.decorator_list):
                node.name = f"_registered_{node.name}"
            return node

    tree.body = [
        node
        for node in tree.body
        if not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
    ]
    return ast.unparse(Strip().visit(tree))


def dead() -> list[str]:
    """One line per unused function, class, method or property, the longest last."""
    with tempfile.TemporaryDirectory() as folder:
        for source in SOURCES:
            for path in (ROOT / source).rglob("*.py"):
                copy = Path(folder) / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(strip(path.read_text(encoding="utf-8")), encoding="utf-8")
        found = subprocess.run(
            [sys.executable, "-m", "vulture", folder, "--min-confidence", "60", "--sort-by-size"],
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode not in (0, 3):
            sys.exit(found.stderr or found.stdout)
    lines = []
    for line in found.stdout.splitlines():
        match = re.search(r"unused (function|class|method|property) '(\w+)'", line)
        if match and match[2] not in ALLOWED and not match[2].startswith("_registered_"):
            lines.append(re.sub(r":\d+:", ":", line.removeprefix(f"{folder}/")))
    return lines


if __name__ == "__main__":
    unused = dead()
    print("\n".join(unused) if unused else "every name is used")
    sys.exit(bool(unused))
