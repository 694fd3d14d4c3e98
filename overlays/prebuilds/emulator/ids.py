"""Ids: their canonical form, and the ids that the emulator generates."""

from __future__ import annotations

import re
import uuid
from functools import lru_cache

from prebuild_wire.scalars import UUID_PATTERN

# Generated ids are derived from the given ids, so that they are the same in every run.
_NAMESPACE = uuid.UUID("6f1f6b0e-5a0b-5d54-9d8e-3c0e1f6b7a21")

_UUID = re.compile(UUID_PATTERN)


@lru_cache
def derived_id(kind: str, of: str) -> str:
    """Return the generated UUID for this kind of resource, always the same for the same `of`."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}:{of}"))


def default_class_id(project_id: str) -> str:
    """Return the environment class of prebuilds that name none.

    ASSUMPTION: the real service knows the classes of a project. Here any project has a default class, derived from
    its id.
    """
    return derived_id("environment class", canonical_id(project_id))


def is_uuid(text: str) -> bool:
    """Return whether an id is a UUID, as the service requires."""
    return _UUID.fullmatch(text) is not None


def canonical_id(text: str) -> str:
    """Return an id in the form in which it is stored and compared.

    ASSUMPTION: UUIDs are case-insensitive and are returned in lower case. Other ids, which only an emulator with
    relaxed ids accepts, are unchanged.
    """
    return text.lower() if is_uuid(text) else text
