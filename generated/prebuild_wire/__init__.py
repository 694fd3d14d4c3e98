"""Requests and responses of Gitpod PrebuildService for servers: pydantic models, operations, protobuf descriptors.

`OPERATIONS` names the request and response model of each method. The models stand in `models`, enums in `enums`,
the schema's own formats in `formats`, and the protobuf classes of the same messages in `descriptors`.
"""

from .base import Message
from .operations import OPERATIONS, Operation

__all__ = ["OPERATIONS", "Message", "Operation"]
