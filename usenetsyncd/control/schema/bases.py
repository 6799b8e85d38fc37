"""What all documents of the API share: their bases, times, paths.

A path is bytes here. In JSON it is text; where the bytes are not UTF-8, ``path_b64`` beside it has them exactly.
"""

import base64
import datetime as dt
from enum import StrEnum
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    computed_field,
)

SCHEMA = 1
PAGE_LIMIT = 1_000
DEFAULT_PAGE = 100
MAX_PATH_BYTES = 65_536
MAX_PATHS = 10_000
MAX_SECRET_CHARS = 65_536


def _iso(at_s: float) -> str:
    at = dt.datetime.fromtimestamp(at_s, dt.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def path_of_base64(text: str) -> bytes:
    """Raises ValueError."""
    return base64.b64decode(text, validate=True)


def _path_from_json(value: object) -> object:
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        return path_of_base64(value["b64"])
    return value.encode("utf-8") if isinstance(value, str) else value


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


Moment = Annotated[
    float,
    PlainSerializer(_iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""Seconds since 1970; ``2026-11-22T14:02:11.000Z`` in JSON."""

PathOut = Annotated[
    bytes, PlainSerializer(_shown, return_type=str, when_used="json"), WithJsonSchema({"type": "string"})
]

PathIn = Annotated[
    bytes,
    BeforeValidator(_path_from_json),
    Field(min_length=1, max_length=MAX_PATH_BYTES),
    PlainSerializer(_shown, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "properties": {"b64": {"type": "string"}}, "required": ["b64"]},
            ]
        }
    ),
]
"""In JSON a text, or ``{"b64": "..."}`` for bytes that are not UTF-8."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
SecretText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SECRET_CHARS)]
Secret = Annotated[SecretText, Field(repr=False)]


class Model(BaseModel):
    """Base of what goes out."""

    # built at first use: a daemon at idle holds no validators for requests that nobody makes
    model_config = ConfigDict(frozen=True, defer_build=True)


class Request(BaseModel):
    """Base of what comes in: an unknown field is an error, and its value is never repeated in one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Document(Model):
    """Base of every answer: says which schema it follows."""

    schema_version: int = Field(default=SCHEMA, serialization_alias="schema")


class WithPath(Model):
    """Base of what is about a path."""

    path: PathOut

    @computed_field  # type: ignore[prop-decorator]
    @property
    def path_b64(self) -> str | None:
        """The exact bytes, only where they are not UTF-8."""
        try:
            self.path.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(self.path).decode()
        return None


class Priority(StrEnum):
    """Order of the queue, as the configuration spells it."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    BACKGROUND = "background"
