"""A small schema that has a bit of everything, and ways to change it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator import document, lint, spec

TINY = """
openapi: 3.1.0
info: {title: Kettle Service, version: 1.0.0}
x-protobuf-package: kettle.v1
x-formats:
  brew-time: {base: protobuf-duration, minimum: 60s, maximum: 600s, description: How long to brew.}
paths:
  /kettle.v1.KettleService/Brew:
    post:
      operationId: Brew
      tags: [KettleService]
      x-client-method: brew
      x-idempotency: unsafe
      summary: Brew a pot.
      description: |-
        Takes as long as it takes.

        ASSUMPTION: there is water.
      requestBody:
        required: true
        content:
          application/json:
            schema: {$ref: '#/components/schemas/BrewRequest'}
            examples:
              green: {value: {kind: TEA_GREEN, cups: 2, time: 90s}}
      responses: &responses
        '200':
          description: A pot.
          content:
            application/json:
              schema: {$ref: '#/components/schemas/BrewResponse'}
              examples:
                pot: {$ref: '#/components/examples/Pot'}
        '415': {$ref: '#/components/responses/Error'}
        default: {$ref: '#/components/responses/Error'}
  /kettle.v1.KettleService/ListPots:
    post:
      operationId: ListPots
      tags: [KettleService]
      x-client-method: list
      x-idempotency: no_side_effects
      x-paging: {items: pots, size: page.size, token: page.token, next_token: nextToken}
      x-flatten: [page]
      summary: List pots.
      requestBody:
        required: true
        content:
          application/json:
            schema: {$ref: '#/components/schemas/ListPotsRequest'}
      responses:
        '200':
          description: A page.
          content:
            application/json:
              schema: {$ref: '#/components/schemas/ListPotsResponse'}
              examples:
                empty: {value: {}}
        '415': {$ref: '#/components/responses/Error'}
        default: {$ref: '#/components/responses/Error'}
components:
  examples:
    Pot: {value: {pot: {id: 182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e, brewedAt: '2019-12-27T18:11:19.117Z', kind: TEA_BLACK}}}
  responses:
    Error:
      description: It failed.
      content:
        application/json:
          schema: {$ref: '#/components/schemas/ConnectError'}
          examples:
            empty: {value: {code: not_found, message: no pot}}
  schemas:
    BrewRequest:
      type: object
      x-protobuf-message: BrewRequest
      description: What to brew.
      required: [kind]
      x-ordered: [[minCups, cups]]
      properties:
        kind: {$ref: '#/components/schemas/TeaKind', x-protobuf-number: 1, description: The kind of tea.}
        cups: {type: integer, format: int32, minimum: 1, maximum: 8, x-protobuf-number: 2, x-presence: explicit, description: How many.}
        minCups: {type: integer, format: int32, minimum: 0, x-protobuf-number: 3, x-presence: explicit}
        time: {type: string, format: brew-time, x-protobuf-number: 4}
        labels: {type: object, additionalProperties: {type: string}, x-protobuf-number: 5}
        strong: {type: boolean, x-protobuf-number: 6}
        grams: {type: number, format: double, minimum: 0.5, x-protobuf-number: 7}
        notes: {type: array, maxItems: 3, items: {type: string}, x-protobuf-number: 8}
    BrewResponse:
      type: object
      x-protobuf-message: BrewResponse
      required: [pot]
      properties:
        pot: {$ref: '#/components/schemas/Pot', x-protobuf-number: 1}
    Pot:
      type: object
      x-protobuf-message: Pot
      description: A pot of tea.
      required: [brewedAt]
      properties:
        id: {type: string, format: uuid, x-protobuf-number: 1}
        kind: {$ref: '#/components/schemas/TeaKind', x-protobuf-number: 2}
        brewedAt: {type: string, format: date-time, x-protobuf-number: 3}
        millilitres: {type: string, format: uint64, x-protobuf-number: 4}
        refill: {$ref: '#/components/schemas/Pot', x-protobuf-number: 5}
    ListPotsRequest:
      type: object
      x-protobuf-message: ListPotsRequest
      properties:
        page: {$ref: '#/components/schemas/Page', x-protobuf-number: 1}
    Page:
      type: object
      x-protobuf-message: ListPotsRequest.Page
      properties:
        size: {type: integer, format: int32, minimum: 0, maximum: 100, x-protobuf-number: 1}
        token: {type: string, x-protobuf-number: 2}
    ListPotsResponse:
      type: object
      x-protobuf-message: ListPotsResponse
      properties:
        pots: {type: array, items: {$ref: '#/components/schemas/Pot'}, x-protobuf-number: 1}
        nextToken: {type: string, x-protobuf-number: 2}
    TeaKind:
      type: string
      description: Kinds of tea.
      enum: [TEA_UNSPECIFIED, TEA_GREEN, TEA_BLACK]
      x-protobuf-enum: TeaKind
      x-enum-numbers: {TEA_UNSPECIFIED: 0, TEA_GREEN: 1, TEA_BLACK: 2}
    ConnectError:
      type: object
      required: [code]
      properties:
        code: {$ref: '#/components/schemas/ConnectCode'}
        message: {type: string}
        details: {type: array, items: {$ref: '#/components/schemas/ConnectErrorDetail'}}
    ConnectErrorDetail:
      type: object
      properties:
        type: {type: string}
        value: {type: string}
        debug: {}
    ConnectCode:
      type: string
      enum: [canceled, unknown, invalid_argument, deadline_exceeded, not_found, already_exists, permission_denied,
        resource_exhausted, failed_precondition, aborted, out_of_range, unimplemented, internal, unavailable, data_loss,
        unauthenticated]
      x-http-status: {canceled: 499, unknown: 500, invalid_argument: 400, deadline_exceeded: 504, not_found: 404,
        already_exists: 409, permission_denied: 403, resource_exhausted: 429, failed_precondition: 400, aborted: 409,
        out_of_range: 400, unimplemented: 501, internal: 500, unavailable: 503, data_loss: 500, unauthenticated: 401}
"""

Schema = dict[str, Any]


def write(schema: Schema, path: Path) -> Path:
    """Write `schema` to `path` as YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.dump(schema, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def tiny() -> Schema:
    """A copy of the small schema, to be changed at will."""
    parsed: Schema = yaml.load(TINY, Loader=document._Loader)
    return copy.deepcopy(parsed)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Schema], tuple[document.Document, spec.Api]]:
    """Load and lint a schema as the pipeline does."""

    def run(schema: Schema) -> tuple[document.Document, spec.Api]:
        loaded = document.load(write(schema, tmp_path / "schema.yaml"))
        return loaded, lint.lint(loaded)

    return run
