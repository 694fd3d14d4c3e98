"""What comes of a prebuild, where a test wants something else than success in the usual time."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

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


ActivePhase = Literal["PENDING", "STARTING", "RUNNING", "STOPPING", "SNAPSHOTTING", "CANCELLING"]
"""A phase in which a prebuild is under way, by its short name."""

AnyActivePhase = Annotated[ActivePhase, BeforeValidator(_short)]
"""The same; the name in the API does as well, `PREBUILD_PHASE_RUNNING` for instance."""

Seconds = Annotated[float, Field(ge=0, le=MOST_SECONDS)]
"""A duration in emulated seconds."""

WAY: Final[tuple[ActivePhase, ...]] = tuple(phase for phase in get_args(ActivePhase) if phase != "CANCELLING")
"""The phases that lead to COMPLETED, in their order."""

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
