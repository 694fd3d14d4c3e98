"""Stage `lint`: checks that all later stages support the schema, and that it is consistent.

The rules are a closed world: a key outside the dialect is an error, because a later tool would silently drop it.
`schema/README.md` documents the vocabulary, `schema/openapi.schema.json` its shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import descriptors, dialect, examples, lint_operations, lint_schemas, spec
from .document import Document, is_list, is_mapping, join
from .findings import Findings
from .problems import PipelineError, Problem

TO_BE_WRITTEN = "TO BE WRITTEN"
"""A description that a person has yet to write."""


def unwritten(document: Document) -> list[Problem]:
    """The placeholder texts that remain to be written. They are no reason to reject the schema."""

    def find(value: Any, pointer: str) -> Iterator[str]:
        if is_mapping(value):
            for key, item in value.items():
                yield from find(item, join(pointer, key))
        elif is_list(value):
            for index, item in enumerate(value):
                yield from find(item, join(pointer, index))
        elif value == TO_BE_WRITTEN:
            yield pointer

    return [document.problem(pointer, "a text is to be written here") for pointer in find(document.data, "#")]


def lint(document: Document) -> spec.Api:
    """The API that `document` describes, if there is nothing wrong with it.

    Raises:
        PipelineError: with everything that is wrong.
    """
    problems = dialect.check(document)
    if problems:
        raise PipelineError("lint", problems)
    findings = Findings(document)
    for check in (lint_schemas.shape, lint_operations.shape, lint_schemas.meaning, lint_operations.named_fields):
        check(findings)
        if findings.problems and check is not lint_schemas.shape:
            raise PipelineError("lint", findings.problems)
    api = spec.read(document.data)
    lint_operations.meaning(findings, api)
    findings.problems += examples.check(document, api)
    if not findings.problems:
        findings.problems += [
            document.problem(problem.pointer or "#", problem.reason) for problem in descriptors.problems(api)
        ]
    if findings.problems:
        raise PipelineError("lint", findings.problems)
    return api
