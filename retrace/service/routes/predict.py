"""Predictions: of beats, segments, samples and recordings, and of a random row of the test part."""

import logging
from contextlib import suppress
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute

from retrace.deploy.inputs import Ready
from retrace.service import (
    jobs,
    predictions,
    random_row,
    recordings,
    samples,
    segments,
    tables,
    uploads,
)
from retrace.service.access import MEMBER, Member, Principal
from retrace.service.pool import Model
from retrace.service.problems import Problem, errors
from retrace.service.ratelimit import limited
from retrace.service.routes.answers import Answered, Queued
from retrace.service.routes.asked import (
    EXAMPLE_BEAT,
    LARGE,
    Beats,
    Recorded,
    Samples,
    documented,
    form,
    read,
    received,
    validated,
)
from retrace.service.state import Running, Service
from retrace.service.tables import ID
from retrace.service.writer import Entry

router = APIRouter(prefix="/predict", tags=["predict"])
LIMITED = [Depends(limited("predict"))]
LOG = logging.getLogger(__name__)


@router.post(
    "/beats",
    summary="Beats that are ready",
    response_model=Answered,
    responses=errors(401, 403, 404, 409, 413, 422, 429, 503),
    openapi_extra=documented(
        Beats,
        {"model": "mitdb_ds1_ds2_simple_cnn", "domain": "mitbih360", "beats": [EXAMPLE_BEAT]},
    ),
)
async def beats(request: Request, who: Member) -> Response:
    """One beat or many, cut and scaled as the model was trained. What cannot be of its signal
    domain is refused, with what differs. (The example is shorter than the 187 samples that it
    takes.)"""
    # What others name as dependencies: each takes as long as reading and judging a beat.
    service: Service = request.app.state.service
    service.limits.count("predict", who.user_id)
    content = await received(request)
    given = await read(service.slots, Beats, content)
    with service.slots:
        model = service.models.get(given.model)
        if len(given.beats) <= model.brief and len(content) <= LARGE:
            entry, body = _beats(service, who, model, given)
        else:
            entry, body = await service.slots.thread(_beats, service, who, model, given)
        return await _kept(service, entry, body)


(BEATS,) = (route for route in router.routes if isinstance(route, APIRoute))


async def beats_at_once(request: Request) -> Response:
    """The same without FastAPI, for `express`."""
    return await beats(request, await MEMBER(request))


def _beats(service: Service, who: Principal, model: Model, given: Beats) -> tuple[Entry, bytes]:
    assert model.card is not None
    ready = samples.ready(given.beats, given.features, given.domain, model.card)
    return _ready(service, who, model, ready, kind="beats")


def _ready(
    service: Service, who: Principal, model: Model, ready: Ready, **options: Any
) -> tuple[Entry, bytes]:
    small = ready.X.size * 4 <= service.settings.largest_body
    return predictions.judged(
        service,
        who.user_id,
        model.usable.answer_ready(ready),
        model,
        signal=ready.X if small else None,
        placed=False,
        **options,
    )


@router.post(
    "/segments",
    dependencies=LIMITED,
    summary="Segments in a .npy file",
    response_model=Answered,
    responses=errors(400, 401, 403, 404, 409, 413, 415, 422, 429, 503, 507),
    openapi_extra=form(
        "one .npy file: (n, leads, samples) or (n, leads, scales, frames)",
        {
            "domain": {"type": "string", "description": "what domain.json beside the array says"},
            "model": {"type": "string", "description": "who answers; else the default"},
        },
        "domain",
    ),
)
async def of_file(request: Request, service: Running, who: Member) -> Response:
    """Waveforms or scalograms as the stages write them, with the domain.json that lies beside them.
    Those of another domain than the model's are refused with all that differs: rate, window,
    filter, unit, the scales of a scalogram, the order of its axes."""
    async with recordings.incoming(service) as folder:
        upload = await uploads.receive(request, folder, ("model", "domain"))
        with service.slots:
            model = service.models.get(upload.fields.get("model"))
            ready = await service.slots.thread(segments.opened, upload, model, service.settings)
            entry, body = await service.slots.thread(
                _ready, service, who, model, ready, kind="segments"
            )
            return await _kept(service, entry, body)


@router.post(
    "/samples",
    dependencies=LIMITED,
    summary="A recording as numbers",
    response_model=Answered,
    responses=errors(401, 403, 404, 409, 413, 422, 429, 503),
    openapi_extra=documented(
        Samples, {"model": "mitdb_ds1_ds2", "fs": 360, "leads": {"MLII": EXAMPLE_BEAT}}
    ),
)
async def of_samples(request: Request, service: Running, who: Member) -> Response:
    """A recording of some seconds or minutes, in mV; it is filtered, cut and answered as a file of
    it would be. (The example is shorter than the seconds that a model needs.)"""
    given = await read(service.slots, Samples, await received(request))
    with service.slots:
        model = service.models.get(given.model)
        entry, body = await service.slots.thread(_samples, service, who, model, given)
        return await _kept(service, entry, body)


def _samples(service: Service, who: Principal, model: Model, given: Samples) -> tuple[Entry, bytes]:
    recording = samples.recording(given.fs, given.leads)
    answer = model.usable.answer(recording, lead=given.lead)
    return predictions.judged(
        service, who.user_id, answer, model, kind="samples", signal=recording.signal
    )


@router.post(
    "/recordings/{id}",
    dependencies=LIMITED,
    summary="A stored recording",
    response_model=Answered,
    responses=errors(401, 403, 404, 409, 413, 422, 429, 503) | {202: {"model": Queued}},
)
async def of_recording(
    service: Running,
    who: Member,
    id: Annotated[str, Path(pattern=ID)],
    given: Recorded | None = None,
) -> Response:
    """The answer for a recording that was uploaded: at once, or for a long one as a job (202)."""
    row = await service.slots.thread(recordings.find, service, who, id)
    return await _recorded(service, who, row, given or Recorded())


@router.post(
    "/recording",
    dependencies=LIMITED,
    summary="Upload a recording and get its answer",
    response_model=Answered,
    responses=errors(400, 401, 403, 404, 409, 413, 415, 422, 429, 503, 507)
    | {202: {"model": Queued}},
    openapi_extra=form(
        ".hea with .dat or .mat (.atr), .csv, .tsv, .npy or .edf",
        {
            "person": {"type": "string", "description": "whose it is: a pseudonym"},
            "fs": {"type": "string", "description": "Hz, of .npy and .csv files without a rate"},
            "model": {"type": "string", "description": "who answers; else the default"},
            "lead": {"type": "string", "description": "stands for the model's"},
            "detect": {
                "type": "string",
                "enum": ["true", "false"],
                "description": "look for beats even where they are annotated",
            },
        },
    ),
)
async def of_upload(request: Request, service: Running, who: Member) -> Response:
    """Both in one: the recording is stored, and answered at once or, where it is long, as a job
    (202). One that the model cannot take is not kept."""
    async with recordings.incoming(service) as folder:
        taken = ("person", "fs", "model", "lead", "detect")
        upload = await uploads.receive(request, folder, taken)
        given = validated(
            Recorded,
            {name: upload.fields.pop(name) for name in taken[2:] if name in upload.fields},
        )
        service.models.get(given.model)
        row = await service.slots.thread(recordings.store, service, who, upload)
    try:
        return await _recorded(service, who, row, given)
    except BaseException:
        # Also where the client has gone; another may have deleted it already.
        with anyio.CancelScope(shield=True), suppress(Problem):
            await service.slots.thread(recordings.delete, service, who, row.id)
        raise


@router.get(
    "/random",
    dependencies=LIMITED,
    summary="A random row of the test part",
    response_model=Answered,
    responses=errors(401, 403, 404, 409, 422, 429, 503),
)
async def of_random_row(
    service: Running,
    who: Member,
    model: Annotated[
        str | None, Query(max_length=100, description="none: one whose test part is here")
    ] = None,
    seed: Annotated[int | None, Query(ge=0, lt=2**53, description="the same row again")] = None,
) -> Response:
    """A segment of the test part, which the model never saw, with its answer and its true label
    (`truth`). It needs the data of the model's own run in the repository that is served."""
    with service.slots:
        entry, body = await service.slots.thread(_random_row, service, who, model, seed)
        return await _kept(service, entry, body)


def _random_row(
    service: Service, who: Principal, name: str | None, seed: int | None
) -> tuple[Entry, bytes]:
    root, models = service.settings.root, service.models
    model = models.get(name) if name else random_row.tested(root, models)
    row = random_row.draw(root, model, seed)
    entry, body = _ready(service, who, model, row.ready, kind="random", truth=row.truth)
    (outcome,) = entry.counts
    LOG.info("random row: model %s, outcome %s, truth %s", model.name, outcome, row.truth)
    return entry, body


async def _recorded(
    service: Service, who: Principal, row: tables.Recording, given: Recorded
) -> Response:
    """The answer for a stored recording, or the job that will give it."""
    service.models.get(given.model)
    if row.samples / row.fs > 60 * service.settings.job_minutes:
        job = await service.slots.thread(_submitted, service, who, row, given)
        return JSONResponse({"job": job, "recording": row.id}, 202, {"Location": f"/jobs/{job}"})
    with service.slots:
        options = given.model_dump()
        entry, body = await service.slots.thread(
            predictions.of_recording, service, who.user_id, row, **options
        )
        return await _kept(service, entry, body)


def _submitted(service: Service, who: Principal, row: tables.Recording, given: Recorded) -> str:
    with service.database.write() as session:
        return jobs.submit(session, who, "recording", given.model_dump(), row.id).id


async def _kept(service: Service, entry: Entry, body: bytes) -> Response:
    """Give an answer away, once it is committed."""
    await service.writer.put(entry)
    service.metrics.predicted(entry.row["model"], entry.counts, entry.row["flagged"])
    return Response(body, media_type="application/json")
