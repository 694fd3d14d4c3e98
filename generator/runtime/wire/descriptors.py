"""The protobuf classes of the messages, made of the descriptor set beside this module.

They live in a pool of their own, so that they get along with any other package that knows the same messages.
"""

from __future__ import annotations

import functools
from importlib.resources import files

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

__all__ = ["file", "message_class", "pool", "request_class", "response_class"]

_DESCRIPTOR_SET = files(__package__ or "").joinpath("descriptor_set.binpb")


@functools.cache
def pool() -> DescriptorPool:
    """The pool of the messages and of what they import. Pass it to `json_format` with messages that hold an `Any`."""
    result = DescriptorPool()
    for item in _descriptor_set().file:
        result.Add(item)
    return result


def file() -> FileDescriptor:
    """The file that declares the service."""
    return pool().FindFileByName(_descriptor_set().file[-1].name)


@functools.cache
def message_class(name: str) -> type[Message]:
    """The class of a message by its name below the package, such as `ListPrebuildsRequest.Filter`.

    Raises:
        KeyError: there is no such message.
    """
    package = file().package
    found = pool().FindMessageTypeByName(f"{package}.{name}" if package else name)
    return message_factory.GetMessageClass(found)


@functools.cache
def request_class(method: str) -> type[Message]:
    """The class of a method's request by the method's name, such as `GetPrebuild`.

    Raises:
        KeyError: there is no such method.
    """
    return message_factory.GetMessageClass(_method(method).input_type)


@functools.cache
def response_class(method: str) -> type[Message]:
    """The class of a method's response by the method's name.

    Raises:
        KeyError: there is no such method.
    """
    return message_factory.GetMessageClass(_method(method).output_type)


def _method(name: str) -> MethodDescriptor:
    for service in file().services_by_name.values():
        if name in service.methods_by_name:
            return service.methods_by_name[name]
    raise KeyError(name)


@functools.cache
def _descriptor_set() -> descriptor_pb2.FileDescriptorSet:
    return descriptor_pb2.FileDescriptorSet.FromString(_DESCRIPTOR_SET.read_bytes())
