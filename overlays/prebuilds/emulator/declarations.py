"""The configuration of the emulator: its projects, the durations, and the outcomes of prebuilds.

These pydantic models are imported only when they are needed, because pydantic is slower to import than the rest of
the emulator.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from . import lifecycle
from .ids import canonical_id
from .lifecycle import ActivePhase

MOST_SECONDS: Final = 10 * 366 * 24 * 3600.0
"""The maximum duration: about ten years."""


class ControlModel(BaseModel):
    """A model of the emulator's configuration. An unknown field is an error, never ignored."""

    # Validators are built on first use, so that the emulator starts faster.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON Schema, with the docstrings of the fields as their descriptions.

        pydantic would read them from the source of each model when the module is imported, which is slow.
        """
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for base in reversed(cls.__mro__):
            if issubclass(base, ControlModel):
                for name, text in _docstrings(base).items():
                    properties[name]["description"] = text
        return schema


def _docstrings(model: type) -> dict[str, str]:
    """Return the string after each field in the source of a class."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    found: dict[str, str] = {}
    if isinstance(definition, ast.ClassDef):
        for field, text in pairwise(definition.body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(said))):
                    found[name] = inspect.cleandoc(said)
                case _:
                    pass
    return found


def _short(phase: Any) -> Any:
    return phase.upper().removeprefix("PREBUILD_PHASE_") if isinstance(phase, str) else phase


AnyActivePhase = Annotated[ActivePhase, BeforeValidator(_short)]
"""A phase by its short name; its name in the API is accepted, too, for example `PREBUILD_PHASE_RUNNING`."""

Seconds = Annotated[float, Field(ge=0, le=MOST_SECONDS)]
"""A duration in emulated seconds."""

_MOST_TEXT = 10_000


class Outcome(ControlModel):
    """The outcome of a prebuild. Without any field it is the usual one: success, with the usual durations.

    A failure occurs at the end of its phase. Fields for CANCELLING apply once the prebuild is cancelled.
    """

    fails_in: AnyActivePhase | None = None
    """The phase in which the prebuild fails."""

    message: Annotated[str, Field(max_length=_MOST_TEXT)] = ""
    """The failure message. It requires `fails_in`. By default, the emulator generates a message."""

    warning: Annotated[str, Field(max_length=_MOST_TEXT)] = ""
    """The warning message with which the prebuild completes."""

    stalls_in: AnyActivePhase | None = None
    """The phase in which the prebuild stalls until its timeout."""

    takes: Seconds | None = None
    """Emulated seconds from the creation to the end. The phases keep their usual proportions."""

    durations: dict[AnyActivePhase, Seconds] = {}
    """Emulated seconds of individual phases; the other phases keep their usual durations."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.message and self.fails_in is None:
            raise ValueError("message needs fails_in: only a failure has one (see warning)")
        if self.warning and self.fails_in is not None and self.fails_in != "CANCELLING":
            raise ValueError("warning does not go with fails_in: only what completes can warn")
        if self.stalls_in is not None:
            if self.stalls_in == self.fails_in:
                raise ValueError("a prebuild cannot both fail and stall in one phase")
            if self.takes is not None:
                raise ValueError("takes does not go with stalls_in: its timeout ends what stalls")
        if self.takes is not None and self.durations:
            raise ValueError("takes does not go with durations: give one of them")
        return self


USUAL: Final = Outcome()
"""Success, with the usual durations."""

# `PrebuildRecord` names it in a module that does not import pydantic, and pydantic resolves the name there.
lifecycle.__dict__["Outcome"] = Outcome


class Plan(ControlModel):
    """The durations of all transitions, in emulated seconds. Each duration may be 0.

    ASSUMPTION: no durations are documented. By default a prebuild completes 300 s after its creation
    and a pool drains in 60 s; at the default speed of 60 that is five seconds and one second.
    """

    pending: Seconds = 15
    """From the creation to STARTING."""

    starting: Seconds = 30
    """From STARTING to RUNNING."""

    running: Seconds = 165
    """From RUNNING to STOPPING."""

    stopping: Seconds = 30
    """From STOPPING to SNAPSHOTTING."""

    snapshotting: Seconds = 60
    """From SNAPSHOTTING to COMPLETED."""

    cancelling: Seconds = 30
    """From CANCELLING to CANCELLED."""

    deleting: Seconds = 30
    """From DELETING to DELETED, for a prebuild."""

    draining: Seconds = 60
    """From DELETING to DELETED, for a warm pool."""

    tombstone: Seconds = 60
    """How long a DELETED prebuild or warm pool can still be read. With 0 it disappears at once."""

    expiry: Seconds = 7 * 24 * 3600
    """From COMPLETED to DELETING, without a request: snapshots are kept for seven days."""

    snapshot_size_bytes: Annotated[int, Field(ge=0, lt=2**63)] = 10 * 1024**3
    """The size of a snapshot."""

    def durations(self) -> dict[ActivePhase, float]:
        """Return the duration of each phase that leads to COMPLETED, in emulated seconds."""
        return {
            "PENDING": self.pending,
            "STARTING": self.starting,
            "RUNNING": self.running,
            "STOPPING": self.stopping,
            "SNAPSHOTTING": self.snapshotting,
        }


Id = Annotated[str, Field(min_length=1, max_length=255)]
"""An id. It must be a UUID, unless the emulator accepts any id."""


class Executor(ControlModel):
    """The subject that executes scheduled prebuilds."""

    id: Id
    """The id of the subject."""

    principal: Literal["USER", "SERVICE_ACCOUNT"] = "SERVICE_ACCOUNT"
    """The type of the subject."""


class PrebuildConfiguration(ControlModel):
    """The prebuild configuration of a project."""

    environment_class_ids: Annotated[tuple[Id, ...], Field(max_length=100)] = ()
    """The prebuild classes. Without any, every class is accepted."""

    default_environment_class_id: Id | None = None
    """The class of prebuilds that name none: by default the first of the prebuild classes."""

    daily_at_hour: Annotated[int, Field(ge=0, le=23)] | None = None
    """The hour, in UTC, at which a prebuild of each prebuild class starts every day. None for no schedule."""

    executor: Executor | None = None
    """The subject that executes scheduled prebuilds. By default, the emulator generates a service account."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = self.default_environment_class_id
        known = {canonical_id(class_id) for class_id in self.environment_class_ids}
        if len(known) < len(self.environment_class_ids):
            raise ValueError("environment_class_ids names a class twice")
        if given is not None and known and canonical_id(given) not in known:
            raise ValueError("default_environment_class_id is none of environment_class_ids")
        return self


class Project(ControlModel):
    """A declared project of the emulator."""

    id: Id
    """The id of the project."""

    prebuilds: PrebuildConfiguration | None = PrebuildConfiguration()
    """The prebuild configuration; null for a project without one, whose prebuilds are disabled."""

    outcome: Outcome | None = None
    """The outcome of each of its prebuilds that has no outcome of its own."""


class ProjectList(ControlModel):
    """All declared projects."""

    projects: tuple[Project, ...]
    """The projects, sorted by id."""


class PlannedOutcome(ControlModel):
    """The outcome of the next prebuilds."""

    outcome: Outcome
    """The outcome of each prebuild."""

    project_id: Id | None = None
    """The project whose prebuilds get the outcome; null for any project."""

    times: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """How many prebuilds get the outcome. Outcomes apply in the order in which they were planned."""


class OutcomeState(PlannedOutcome):
    """A planned outcome that is not used up; `times` is the number of prebuilds left."""

    id: Annotated[int, Field(ge=1, lt=2**53)]
    """The number of the plan, counted upwards."""


class DeclaredProject(ControlModel):
    """A declared project, and the time of its next scheduled run."""

    project: Project
    """The project."""

    next_run: AwareDatetime | None
    """The time of its next scheduled prebuilds."""


def read_projects(path: Path) -> tuple[Project, ...]:
    """Return the projects in a file. It has the format of the control plane's list: `{"projects": [{"id": ...}]}`.

    Raises:
        ValueError: the file cannot be read, or has another format; the message is one line.
    """
    try:
        return ProjectList.model_validate_json(path.read_bytes(), strict=True).projects
    except OSError as error:
        raise ValueError(f"cannot read the projects of {path}: {error}") from None
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        texts = [f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in found]
        raise ValueError(f"the projects of {path} make no sense: {'; '.join(texts)}") from None
