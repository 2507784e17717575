"""Where a YAML file breaks, in the words of a message for the person who wrote it."""

from __future__ import annotations

import yaml

MEND = "look there and just above for an indent, a bracket or a quote that is not closed"
"""The hint that goes with it."""


def yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong with the text of a YAML file, with line and column where they are known.

    >>> try:
    ...     yaml.safe_load("name: x\\nlabels: [a, b\\n")
    ... except yaml.YAMLError as error:
    ...     print(yaml_problem(error))
    not valid YAML: line 3, column 1: expected ',' or ']', but got '<stream end>'
    """
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is None or not problem:
        return f"not valid YAML: {' '.join(str(error).split())}"
    return f"not valid YAML: line {mark.line + 1}, column {mark.column + 1}: {problem}"


__all__ = ["MEND", "yaml_problem"]
