"""What a prediction is asked with: bodies, how they are read, and how they are documented."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    FiniteFloat,
    ValidationError,
    WithJsonSchema,
)

from retrace.deploy.readers.common import HIGHEST, LEADS, LOWEST
from retrace.service.problems import Problem
from retrace.service.slots import Slots

MOST = 10_000  # beats in a request
LARGE = 1 << 16  # bytes of JSON that take longer than a moment to read
MANY = 100  # errors in a body that are still told one by one: a large one can have 400,000
TEXT = r"^[^\x00]*$"  # PostgreSQL keeps no NUL

Body = TypeVar("Body", bound=BaseModel)
ModelName = Annotated[str | None, Field(max_length=100, description="null: the default")]
Lead = Annotated[
    str | None,
    Field(max_length=200, description="the one that stands for the model's; null: found by name"),
]
Numbers = Annotated[list[FiniteFloat], Field(min_length=1), FailFast()]
ROW: dict[str, Any] = {"type": "array", "items": {"type": "number"}, "minItems": 1}
ROWS: dict[str, Any] = {"type": "array", "items": ROW, "minItems": 1}
IMAGES: dict[str, Any] = {"type": "array", "items": ROWS, "minItems": 1}
EXAMPLE_BEAT = [-0.13, -0.12, -0.1, -0.05, 0.4, 1.9, 0.7, -0.4, -0.2, -0.1]


class Beats(BaseModel):
    """Segments as the model takes them, behind its filter and in its unit.

    beats: (n, samples) of one lead, (n, leads, samples), or (n, leads, scales, frames).
    """

    model_config = ConfigDict(extra="forbid")
    model: ModelName = None
    beats: Annotated[
        list[Any],  # NumPy tells faster, and in fewer words, what is wrong in them
        Field(min_length=1, max_length=MOST),
        WithJsonSchema(
            {
                "type": "array",
                "items": {"anyOf": [ROW, ROWS, IMAGES]},
                "minItems": 1,
                "maxItems": MOST,
            }
        ),
    ]
    features: Annotated[
        dict[str, Annotated[list[FiniteFloat], Field(max_length=MOST), FailFast()]] | None,
        Field(max_length=16, description="what the model asks for beside a beat, one of each"),
    ] = None
    domain: Annotated[
        str | dict[str, Any] | None,
        Field(description="mitbih360, kaggle125, or what domain.json says; checked if given"),
    ] = None


class Samples(BaseModel):
    """A recording in mV. leads: by name, all of the same length; fs: Hz."""

    model_config = ConfigDict(extra="forbid")
    model: ModelName = None
    fs: Annotated[float, Field(ge=LOWEST, le=HIGHEST)]
    leads: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=40)], Numbers],
        Field(min_length=1, max_length=LEADS),
    ]
    lead: Lead = None


class Recorded(BaseModel):
    """How a recording is answered. detect: look for beats even where they are annotated."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"model": "mitdb_ds1_ds2", "lead": "MLII"}}
    )
    model: ModelName = None
    lead: Lead = None
    detect: bool = False


def documented(body: type[BaseModel], example: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a route that reads it itself."""
    schema = body.model_json_schema()
    content = {"application/json": {"schema": schema, "example": dict(example)}}
    return {"requestBody": {"required": True, "content": content}}


def form(files: str, fields: Mapping[str, Any], *required: str) -> dict[str, Any]:
    """The form of a route that reads it itself. files: which ones; required: fields."""
    binary = {"type": "array", "items": {"type": "string", "format": "binary"}}
    content = {
        "schema": {
            "type": "object",
            "properties": {"files": binary | {"description": files}, **fields},
            "required": ["files", *required],
        },
        "encoding": {"files": {"contentType": "application/octet-stream"}},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


async def read(slots: Slots, body: type[Body], content: bytes) -> Body:
    """The JSON of a request; a large one is read in a thread."""
    if len(content) > LARGE:
        return await slots.thread(validated, body, content)
    return validated(body, content)


async def received(request: Request) -> bytes:
    """`request.body()`, in a third of its time."""
    pieces = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "the connection broke off; nothing was stored")
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


def validated(body: type[Body], content: bytes | dict[str, str]) -> Body:
    try:
        if isinstance(content, bytes):
            return body.model_validate_json(content)
        return body.model_validate(content)
    except ValidationError as error:
        if (count := error.error_count()) > MANY:
            raise Problem(
                422,
                f"body: {count} errors; {body.__name__} in GET /openapi.json "
                "shows what is taken: correct it",
            ) from None
        said = error.errors(include_input=False, include_url=False, include_context=False)
        raise RequestValidationError(said) from None
