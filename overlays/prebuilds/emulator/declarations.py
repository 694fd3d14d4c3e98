"""What is told to the emulator about itself: its projects, how long things take, and what comes of prebuilds.

Of these pydantic models nothing is loaded before one is needed, since pydantic takes longer than all the rest of the
emulator.
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
"""The longest duration that can be asked for: about ten years."""


class ControlModel(BaseModel):
    """What is told to the emulator about itself. A field that it does not know is an error, never ignored."""

    # Validators are built when they are first used: an emulator starts sooner without.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The JSON Schema, with the docstrings of the fields as their descriptions.

        pydantic would read them from the source of each model when the module is imported, which takes its time.
        """
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for base in reversed(cls.__mro__):
            if issubclass(base, ControlModel):
                for name, text in _docstrings(base).items():
                    properties[name]["description"] = text
        return schema


def _docstrings(model: type) -> dict[str, str]:
    """The string behind each field in the source of a class."""
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
"""The same; the name in the API does as well, `PREBUILD_PHASE_RUNNING` for instance."""

Seconds = Annotated[float, Field(ge=0, le=MOST_SECONDS)]
"""A duration in emulated seconds."""

_MOST_TEXT = 10_000


class Outcome(ControlModel):
    """What comes of a prebuild. Without any field it is the usual: success, in the usual time.

    A failure comes at the end of its phase. What is said of CANCELLING counts once the prebuild is cancelled.
    """

    fails_in: AnyActivePhase | None = None
    """The phase in which the prebuild fails."""

    message: Annotated[str, Field(max_length=_MOST_TEXT)] = ""
    """The failure message. It needs `fails_in`; without it the emulator makes one up."""

    warning: Annotated[str, Field(max_length=_MOST_TEXT)] = ""
    """The warning message with which the prebuild completes."""

    stalls_in: AnyActivePhase | None = None
    """The phase that the prebuild does not leave of its own accord. Its timeout ends it."""

    takes: Seconds | None = None
    """Emulated seconds from the creation to the end. The phases take their usual shares of it."""

    durations: dict[AnyActivePhase, Seconds] = {}
    """Emulated seconds that single phases take; the others take what they usually do."""

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
"""Success, in the usual time."""

# `PrebuildRecord` names it in a module that does without pydantic, and that is where pydantic looks for it.
lifecycle.__dict__["Outcome"] = Outcome


class Plan(ControlModel):
    """How long things take, in emulated seconds. Each duration may be 0.

    ASSUMPTION: how long anything takes is nowhere promised. By default a prebuild completes 300 s after its creation
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
    """How long something that is DELETED can still be read. With 0 it is gone at once."""

    expiry: Seconds = 7 * 24 * 3600
    """From COMPLETED to DELETING, of its own accord: snapshots are kept for seven days."""

    snapshot_size_bytes: Annotated[int, Field(ge=0, lt=2**63)] = 10 * 1024**3
    """How large a snapshot is."""

    def durations(self) -> dict[ActivePhase, float]:
        """How long a prebuild stays in each of the phases that lead to COMPLETED, in emulated seconds."""
        return {
            "PENDING": self.pending,
            "STARTING": self.starting,
            "RUNNING": self.running,
            "STOPPING": self.stopping,
            "SNAPSHOTTING": self.snapshotting,
        }


Id = Annotated[str, Field(min_length=1, max_length=255)]
"""The id of something. Unless the emulator takes any id, it has to be a UUID."""


class Executor(ControlModel):
    """In whose name scheduled prebuilds run."""

    id: Id
    """Who it is."""

    principal: Literal["USER", "SERVICE_ACCOUNT"] = "SERVICE_ACCOUNT"
    """What it is."""


class PrebuildConfiguration(ControlModel):
    """How a project is prebuilt."""

    environment_class_ids: Annotated[tuple[Id, ...], Field(max_length=100)] = ()
    """The prebuild classes. Without any, every class will do."""

    default_environment_class_id: Id | None = None
    """The class of prebuilds that name none: the first of the prebuild classes unless given."""

    daily_at_hour: Annotated[int, Field(ge=0, le=23)] | None = None
    """The hour, in UTC, at which a prebuild of each prebuild class starts every day. None for no schedule."""

    executor: Executor | None = None
    """In whose name scheduled prebuilds run. Without one, a service account is made up."""

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
    """A project, as it is declared to the emulator."""

    id: Id
    """The id of the project."""

    prebuilds: PrebuildConfiguration | None = PrebuildConfiguration()
    """How the project is prebuilt; null while it has no prebuild configuration, so that prebuilds are disabled."""

    outcome: Outcome | None = None
    """What comes of each of its prebuilds, but for those that have an outcome of their own."""


class ProjectList(ControlModel):
    """All declared projects."""

    projects: tuple[Project, ...]
    """Each of them, by its id."""


class PlannedOutcome(ControlModel):
    """What is to come of the next prebuilds."""

    outcome: Outcome
    """What comes of each of them."""

    project_id: Id | None = None
    """The project whose prebuilds are meant; null for those of any project."""

    times: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """How many prebuilds it is for. What was planned first counts first."""


class OutcomeState(PlannedOutcome):
    """A planned outcome that still waits for prebuilds; `times` says for how many."""

    id: Annotated[int, Field(ge=1, lt=2**53)]
    """Counts up with each plan."""


class DeclaredProject(ControlModel):
    """A declared project, and when its schedule is due next."""

    project: Project
    """The project."""

    next_run: AwareDatetime | None
    """When its next scheduled prebuilds are due."""


def read_projects(path: Path) -> tuple[Project, ...]:
    """The projects of a file, in the form in which the control plane lists them: `{"projects": [{"id": ...}]}`.

    Raises:
        ValueError: the file cannot be read, or is not of that form; the message is one line.
    """
    try:
        return ProjectList.model_validate_json(path.read_bytes(), strict=True).projects
    except OSError as error:
        raise ValueError(f"cannot read the projects of {path}: {error}") from None
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        texts = [f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in found]
        raise ValueError(f"the projects of {path} make no sense: {'; '.join(texts)}") from None
