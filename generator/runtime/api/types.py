"""What all models and endpoint functions share: decoding rules, JSON, and the answer of an endpoint function."""

# JSON has no types.
# pyright: basic
from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from reprlib import recursive_repr
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, cast

from attrs import define, evolve, field, fields_dict

from .display import default_of, html_table, shown_fields
from .readers import INEXACT_FLOAT, FormError, double, integer
from .timestamps import encode_timestamp, parse_timestamp

try:
    import orjson
except ImportError:  # orjson has no wheel for every platform; the standard library reads the same documents.
    orjson = None  # type: ignore[assignment, unused-ignore]

T = TypeVar("T")


class DecodeError(ValueError):
    """A JSON document does not have the shape that the schema promises.

    Attributes:
        path: where it differs, for example `prebuilds[3].metadata.createdAt`; empty for the document itself.
        expected: what the schema promises there.
        found: what stood there instead.
    """

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(f"{path or 'the document'}: expected {expected}, found {found}")
        self.path = path
        self.expected = expected
        self.found = found

    def __reduce__(self) -> tuple[type[DecodeError], tuple[str, str, str]]:
        return type(self), (self.path, self.expected, self.found)


class OpenEnum(StrEnum):
    """An enum that the service may extend at any time.

    A value that this version does not know is kept: it compares equal to its string, `is_known` is false, and it is
    written back as it came. An enum of protobuf takes numbers as well: the number of a member stands for the member,
    and any other is an unknown value that equals its decimal digits.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        number = cls._decimal(value)
        for name, known in cls._numbers().items():
            if known == number:
                return cls(name)
        if number is None and not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = str(value)
        return member

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The value that stands as `value` in a JSON document: a name, or a number where the enum has numbers."""
        if isinstance(value, str):
            return cls(value)
        if not cls._numbers():
            raise FormError("a string")
        return cls(str(integer(value, -(2**31), 2**31 - 1, "the name or the number of an enum member")))

    @property
    def number(self) -> int | None:
        """The number in protobuf; None for a name that this version does not know, and in an enum without numbers."""
        return self._numbers().get(self._value_, self._decimal(self._value_))

    @property
    def is_known(self) -> bool:
        """Whether this version of the schema has the value."""
        return self._value_ in type(self)._value2member_map_

    @classmethod
    def _numbers(cls) -> Mapping[str, int]:
        """The number of each member by its JSON name; empty in an enum that is not of protobuf."""
        return {}

    @classmethod
    def _decimal(cls, value: object) -> int | None:
        """The number that `value` is, or that its digits are; None if it is a name."""
        if not cls._numbers() or isinstance(value, bool) or not isinstance(value, (int, str)):
            return None
        try:
            number = int(value)
        except ValueError:
            return None
        return number if str(number) == str(value) and -(2**31) <= number < 2**31 else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self._name_}" if self.is_known else f"{type(self).__name__}({self._value_!r})"

    def __hash__(self) -> int:
        return str.__hash__(self)

    def __reduce_ex__(self, protocol: object) -> tuple[type[Self], tuple[str]]:
        return type(self), (str(self._value_),)  # by value: the first releases of Python 3.11 go by name


@define(kw_only=True, weakref_slot=False, repr=False)
class Model:
    """A message of the API.

    Fields that the schema does not have are kept in `additional_properties` and written back by `to_dict`. `repr` and
    the table in a notebook leave out fields that are at their defaults, and hide secrets.
    """

    # A dict only where there is something to keep: an empty one for each message shows in the time of decoding.
    # Its annotation is evaluated in the modules of the models, which need not know more than builtins.
    _unknown: dict[str, object] | None = field(
        default=None, alias="additional_properties", eq=lambda unknown: unknown or None
    )

    @property
    def additional_properties(self) -> dict[str, Any]:
        """The fields that the schema does not have, by their JSON names."""
        if self._unknown is None:
            self._unknown = {}
        return self._unknown

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """The message that the JSON object `source` holds, in any form that protobuf JSON allows.

        Fields may have their JSON names (`pageSize`) or their names in protobuf (`page_size`), numbers may be
        strings, 64-bit integers may be numbers, and enums may be numbers.

        Raises:
            DecodeError: a value has the wrong JSON type, a message that is always set is missing, a number is out of
                range or was rounded, or a field stands there under both of its names.
        """
        message: Self = decode(DECODERS[cls.__name__], source)
        return message

    def to_dict(self) -> dict[str, Any]:
        """The message as a JSON object.

        Names are in camelCase. What is absent is left out, and so are empty lists and the zero member of an enum.
        """
        raise NotImplementedError

    def to_json(self) -> str:
        """The message as JSON text, as it goes over the wire: secrets are in it."""
        return encode_json(self.to_dict()).decode()

    @recursive_repr()
    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in shown_fields(self))
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        return shown_fields(self)

    @recursive_repr()
    def _repr_html_(self) -> str:
        return html_table(self)


# The decoder of each model by the model's name; `models` fills it.
DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {}

# The fields of each model: JSON name -> attribute, and other name -> JSON name.
FIELDS: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {}


@define(kw_only=True)
class Response(Generic[T]):
    """The answer of an endpoint function, with what came over the wire beside the parsed message."""

    status_code: int
    """The HTTP status."""
    content: bytes = field(repr=False)
    """The body as it came, after decompression. `repr` leaves it out, as it may hold a secret."""
    headers: Mapping[str, str]
    """The response headers."""
    parsed: T
    """The message, or the error."""


def decode_json(decoder: Callable[[dict[str, Any]], T], content: bytes) -> T:
    """Read a message from the bytes of a JSON document. A byte order mark in front of it is skipped.

    Raises:
        DecodeError: the bytes are no JSON, or not of the shape of the message.
    """
    source = _document(_loads, content)
    if isinstance(source, dict):
        try:
            return _run(decoder, source)
        except _MismatchError as error:
            if not error.rounded:
                raise error.located(source) from None
        source = _document(_loads_exactly, content)
    return decode(decoder, source)


def encode_json(source: Mapping[str, Any]) -> bytes:
    """The JSON document of `source` in UTF-8.

    Raises:
        TypeError: a value has no JSON form.
    """
    if orjson is not None:
        return orjson.dumps(source)
    return json.dumps(source, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _document(loads: Callable[[bytes], Any], content: bytes) -> Any:
    content = content.removeprefix(_BYTE_ORDER_MARK)
    try:
        return loads(content)
    except (ValueError, RecursionError) as error:
        # The page of a proxy is worth a look; a message that broke off may hold a token, and is not shown.
        excerpt = "" if content.lstrip().startswith((b"{", b"[")) else f" in {content[:80]!r}"
        raise DecodeError("", "JSON", f"{error}{excerpt}") from error


def _loads(content: bytes) -> Any:
    if orjson is not None:
        return orjson.loads(content)
    return json.loads(content.decode(), parse_constant=_finite, parse_float=_finite)


def _loads_exactly(content: bytes) -> Any:
    """The document in `content` with whole numbers as `int`, however they are written: a float has 53 bits only."""
    return json.loads(content.decode(), parse_constant=_finite, parse_float=_exact)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number


def _exact(text: str) -> float:
    from generator.runtime.scalars import parse_uint64

    number = _finite(text)
    if INEXACT_FLOAT <= abs(number) <= 2.0**64:
        with suppress(ValueError):  # it is no whole number
            return -parse_uint64(text[1:]) if number < 0 else parse_uint64(text)
    return number


def decode(decoder: Callable[[dict[str, Any]], T], source: object) -> T:
    """Run `decoder` on `source`, and say where in it a mistake is."""
    if not isinstance(source, dict):
        if not isinstance(source, Mapping):
            raise DecodeError("", "an object", describe(source))
        source = dict(source)
    try:
        return _run(decoder, source)
    except _MismatchError as error:
        raise error.located(source) from None


def _run(decoder: Callable[[dict[str, Any]], T], source: dict[str, Any]) -> T:
    try:
        return decoder(source)
    except RecursionError:
        raise DecodeError("", "fewer levels of messages", "more than Python can follow") from None


def describe(value: object) -> str:
    """A JSON value in a few words, for messages."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    kind = {bool: "the boolean", int: "the number", float: "the number", str: "the string"}.get(type(value), "")
    return f"{kind} {text if len(text) <= 60 else text[:57] + '...'}".strip()


class _MismatchError(Exception):
    """`holder[key]`, or what stands `within` it, is not what the schema promises.

    `rounded` says that the value would do if the JSON parser had not rounded it.
    """

    def __init__(
        self, holder: object, key: str, expected: str, found: str, *, within: str = "", rounded: bool = False
    ) -> None:
        super().__init__(key, expected)
        self.holder = holder
        self.key = key
        self.expected = expected
        self.found = found
        self.within = within
        self.rounded = rounded

    def located(self, root: object) -> DecodeError:
        """The error with its path from `root`."""
        path = ".".join(filter(None, [_locate(root, self.holder), self.key])) + self.within
        return DecodeError(path, self.expected, self.found)


def _locate(root: object, holder: object) -> str:
    """The path from `root` to the very object `holder` inside it; JSON documents hold each object once."""
    pending: list[tuple[str, object]] = [("", root)]
    while pending:
        path, value = pending.pop()
        if value is holder:
            return path
        if isinstance(value, dict):
            pending += [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
        elif isinstance(value, list):
            pending += [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    return ""


# What the decoders of the models call where a value is not plainly right, so that their straight line stays short.

fromisoformat = datetime.fromisoformat

# Generated code names no exception itself: a message may have the same name.
NOT_A_MEMBER = KeyError, TypeError
NOT_A_MOMENT = TypeError, ValueError

# Of a timestamp in UTC with 0, 3 or 6 digits, all of which fit into a `datetime`. The reader `timestamp` takes others.
USUAL_LENGTHS = frozenset({20, 24, 27})


def mismatch(holder: dict[str, Any], key: str, expected: str) -> NoReturn:
    """Refuse `holder[key]`."""
    raise _MismatchError(holder, key, expected, describe(holder.get(key)))


def read(holder: dict[str, Any], key: str, reader: Callable[[Any], T]) -> T:
    """What `reader` makes of `holder[key]`."""
    return _read(holder, key, reader, holder.get(key))


def _read(holder: dict[str, Any], key: str, reader: Callable[[Any], T], value: object, within: str = "") -> T:
    try:
        return reader(value)
    except FormError as error:
        found = describe(value) + (", which may be rounded" if error.rounded else "")
        raise _MismatchError(holder, key, error.expected, found, within=within, rounded=error.rounded) from None


def objects_at(holder: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The list of objects at `holder[key]`. An absent list is an empty one."""
    value = holder.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        mismatch(holder, key, "a list")
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise _MismatchError(holder, key, "an object", describe(item), within=f"[{index}]")
    return value


def values_at(holder: dict[str, Any], key: str, reader: Callable[[Any], T]) -> list[T]:
    """The list at `holder[key]`, each item as `reader` reads it. An absent list is an empty one."""
    value = holder.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        mismatch(holder, key, "a list")
    return [_read(holder, key, reader, item, f"[{index}]") for index, item in enumerate(value)]


def entries_at(holder: dict[str, Any], key: str, reader: Callable[[Any], T]) -> dict[str, T]:
    """The map at `holder[key]`, each value as `reader` reads it. An absent map is an empty one."""
    value = holder.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        mismatch(holder, key, "an object")
    return {name: _read(holder, key, reader, item, f".{name}") for name, item in value.items()}


def unknown_fields(holder: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The fields of `holder` that are not `known`."""
    return {key: value for key, value in holder.items() if key not in known}


def renamed(decoder: Callable[[dict[str, Any]], T], source: dict[str, Any], other_names: Mapping[str, str]) -> T:
    """Run `decoder` on a copy of `source` with JSON names in place of those that `other_names` leads to them from."""
    given: dict[str, str] = {}
    for name in source:
        json_name = other_names.get(name, name)
        if json_name in given:
            # Which of the two counts is anyone's guess; the parsers of protobuf refuse both as well.
            raise _MismatchError(source, name, f"either {given[json_name]} or {name}", "both")
        given[json_name] = name
    document = {json_name: source[name] for json_name, name in given.items()}
    try:
        return decoder(document)
    except _MismatchError as error:
        if error.holder is document:
            error.holder = source
            error.key = given.get(error.key, error.key)
        raise


# Going the other way.


def encode_enum(value: str) -> str | int:
    """An enum value as JSON: its name, or the number of one that has no name here."""
    text = str(value)
    if text[:1] not in "-0123456789":  # as in all names
        return text
    number = value.number if isinstance(value, OpenEnum) and not value.is_known else None
    return text if number is None else number


def encode_number(value: float) -> float | str:
    """A number as JSON, which has strings for those that are infinite or none at all."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


# From what callers write to models.

M = TypeVar("M", bound=Model)
EnumT = TypeVar("EnumT", bound=OpenEnum)


def to_model(model: type[M], value: M | Mapping[str, Any], parameter: str) -> M:
    """`value` as a `model`. A dict has the field names of Python (`page_size`) or of JSON (`pageSize`).

    Raises:
        TypeError: `value` is neither, has a field that `model` does not have, or a value of the wrong type.
        ValueError: the name of an enum member does not exist.
    """
    if isinstance(value, model):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(f"{parameter}: expected {model.__name__} or a dict, got {describe(value)}")
    try:
        result = model.from_dict(_to_json(value))
    except DecodeError as error:
        raise TypeError(f"{parameter}: {error}") from None
    _check_names(result, value, parameter)
    return cast("M", _with_members(result, parameter))


def to_member(enum: type[EnumT], value: Any, parameter: str) -> EnumT:
    """The member of `enum` that a caller means: the member itself, its full name, or its short name in any case.

    A name that begins like those of the members is kept, as a later version of the service may have it.

    Raises:
        ValueError: `value` is not a name of a member. The message lists them.
    """
    member = enum(value)
    if member.is_known or member.number is not None:
        return member
    short = member.upper()
    for each in enum:
        if each.name == short:
            return each
    if any(member.startswith(each.removesuffix(each.name)) for each in enum):
        return member
    valid = ", ".join(each.name for each in enum)
    raise ValueError(f"{parameter}: {str(member)!r} is not a {enum.__name__}: expected one of {valid}")


def _with_members(made: object, path: str) -> object:
    """`made`, with enum members in place of their short names."""
    if isinstance(made, OpenEnum):
        return to_member(type(made), made, path)
    if isinstance(made, Model):
        for name in fields_dict(type(made)):
            inner = getattr(made, name)
            if isinstance(inner, (OpenEnum, Model, list, dict)) and not name.startswith("_"):
                setattr(made, name, _with_members(inner, f"{path}.{name}"))
    elif isinstance(made, list):
        return [_with_members(item, f"{path}[{index}]") for index, item in enumerate(made)]
    elif isinstance(made, dict):
        return {key: _with_members(item, f"{path}.{key}") for key, item in made.items()}
    return made


def _check_names(made: object, value: object, path: str) -> None:
    """Refuse names in `value`, of which `made` was made, that are no fields."""
    if isinstance(made, Model) and isinstance(value, Mapping):
        if made.additional_properties:
            unknown = ", ".join(sorted(made.additional_properties))
            raise TypeError(f"{path}: {type(made).__name__} has no field {unknown}")
        attributes, other_names = FIELDS[type(made).__name__]
        for key, item in value.items():
            name = attributes[other_names.get(str(key), str(key))]
            _check_names(getattr(made, name), item, f"{path}.{name}")
    elif isinstance(made, dict) and isinstance(value, Mapping):
        for key, item in value.items():
            _check_names(made[str(key)], item, f"{path}.{key}")
    elif isinstance(made, list) and isinstance(value, (list, tuple)):
        for index, (inner, item) in enumerate(zip(made, value, strict=True)):
            _check_names(inner, item, f"{path}[{index}]")


def _to_json(value: object) -> Any:
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_to_json(item) for item in value]
    if isinstance(value, datetime):
        return encode_timestamp(value)
    if isinstance(value, timedelta):
        return to_duration(value)
    return value


def to_duration(value: timedelta | str) -> str:
    """`value` as protobuf JSON writes a duration: `3600s`, `1.500s`. A string is taken as it is."""
    if isinstance(value, str):
        return value
    microseconds = value // timedelta(microseconds=1)
    whole, rest = divmod(abs(microseconds), 1_000_000)
    digits = f"{rest:06}"
    fraction = "" if not rest else f".{digits[:3]}" if digits.endswith("000") else f".{digits}"
    return f"{'-' if microseconds < 0 else ''}{whole}{fraction}s"


def to_timestamp(value: datetime | str) -> datetime:
    """`value` as a moment. A string is written as in RFC 3339.

    Raises:
        ValueError: the string is not a timestamp.
    """
    return parse_timestamp(value) if isinstance(value, str) else value


def to_number(value: float | str) -> float:
    """`value` as a number. A string is one of `"NaN"`, `"Infinity"` and `"-Infinity"`, or has digits.

    Raises:
        ValueError: the string is not a number.
    """
    return double(value) if isinstance(value, str) else value


def merge_fields(
    model: type[M],
    parameter: str,
    value: M | Mapping[str, Any] | None,
    fields: Mapping[str, Any],
    keywords: Mapping[str, str] = MappingProxyType({}),
) -> M | None:
    """`value` as a `model`, with those of `fields` that are given. None if nothing is.

    `keywords` has the keywords that fields go by where those are not their names.

    Raises:
        TypeError: as of `to_model`, or a field is given both in `value` and by keyword.
    """
    given = {name: item for name, item in fields.items() if item is not None}
    merged = None if value is None else to_model(model, value, parameter)
    if not given:
        return merged
    made = to_model(model, given, parameter)
    if merged is None:
        return made
    attributes = fields_dict(model)
    for name in given:
        if getattr(merged, name) != default_of(attributes[name]):
            raise TypeError(f"{keywords.get(name, name)} is given twice, by keyword and in {parameter}")
        merged = evolve(merged, **{name: getattr(made, name)})
    return merged


def merge_required(
    model: type[M],
    parameter: str,
    value: M | Mapping[str, Any] | None,
    fields: Mapping[str, Any],
    keywords: Mapping[str, str] = MappingProxyType({}),
) -> M:
    """As `merge_fields`, for a message that is always there."""
    return merge_fields(model, parameter, {} if value is None else value, fields, keywords) or model()


if TYPE_CHECKING:
    from typing_extensions import deprecated as deprecated  # noqa: PLC0414, it is for others
else:

    def deprecated(message: str) -> Callable[[T], T]:
        """Mark a function as deprecated: type checkers and editors say so, and its `__deprecated__` is the reason."""

        def mark(function: T) -> T:
            function.__deprecated__ = message
            return function

        return mark
