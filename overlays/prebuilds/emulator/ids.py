"""Ids: how they are compared, and those that the emulator makes up."""

from __future__ import annotations

import re
import uuid
from functools import lru_cache

from prebuild_wire.scalars import UUID_PATTERN

# What the emulator makes up is made of the ids it is given, so that it is the same in every run.
_NAMESPACE = uuid.UUID("6f1f6b0e-5a0b-5d54-9d8e-3c0e1f6b7a21")

_UUID = re.compile(UUID_PATTERN)


@lru_cache
def derived_id(kind: str, of: str) -> str:
    """The UUID that the emulator makes up for a thing of this kind, always the same for the same `of`."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}:{of}"))


def default_class_id(project_id: str) -> str:
    """The environment class of prebuilds that name none.

    ASSUMPTION: the real service knows the classes of a project; here any project has a default class, made of its id.
    """
    return derived_id("environment class", canonical_id(project_id))


def is_uuid(text: str) -> bool:
    """Whether an id is a UUID, as the service asks for."""
    return _UUID.fullmatch(text) is not None


def canonical_id(text: str) -> str:
    """An id as it is kept and compared.

    ASSUMPTION: a UUID of either case is the same id, and is answered in lower case. Other ids, which only an emulator
    with relaxed ids takes, are kept as they are.
    """
    return text.lower() if is_uuid(text) else text
