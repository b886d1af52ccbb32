"""Whether it lives, whether it can work, and what it has counted. No account is needed."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from retrace.service.problems import errors
from retrace.service.state import Running

router = APIRouter(tags=["health"])
FINE = {"database": "ok", "models": "ok", "jobs": "ok", "mail": "ok", "disk": "ok"}
SAMPLE = 'retrace_requests_total{method="POST",route="/predict/beats",status="200"} 3.0\n'


class Text(Response):
    """Prometheus' text; its errors are JSON as all errors are."""

    media_type = None


class Alive(BaseModel):
    """The process lives."""

    status: str = "alive"


class Ready(BaseModel):
    """Whether requests can be answered, and each part in words."""

    ready: bool
    parts: dict[str, str]


@router.get("/health", summary="The process lives")
async def alive() -> Alive:
    """Says that the process answers and nothing else: for a supervisor that restarts it."""
    return Alive()


@router.get(
    "/ready",
    summary="Requests can be answered",
    response_model=Ready,
    responses={
        200: {"content": {"application/json": {"example": {"ready": True, "parts": FINE}}}},
        503: {
            "model": Ready,
            "description": "a part cannot work",
            "content": {
                "application/json": {
                    "example": {
                        "ready": False,
                        "parts": FINE | {"database": "the database does not answer"},
                    }
                }
            },
        },
    },
)
async def ready(service: Running) -> Response:
    """Each part in words: database, models, jobs, mail, disk. For a balancer: 503 while requests
    would fail. What is found is told for two seconds."""
    parts = await service.ready.found(service)
    fine = all(said == "ok" or said.startswith("ok:") for said in parts.values())
    headers = {} if fine else {"Retry-After": "10"}
    return JSONResponse({"ready": fine, "parts": parts}, 200 if fine else 503, headers)


@router.get(
    "/metrics",
    summary="What was counted, for Prometheus",
    response_class=Text,
    responses=errors(503) | {200: {"content": {"text/plain": {"example": SAMPLE}}}},
)
async def metrics(service: Running) -> Response:
    """Requests by route and status, their times, predictions by model and class, what was flagged,
    jobs by state, mails that wait. It names no person and no recording."""
    jobs, mails = await service.waiting.found(service)
    lines = ["# TYPE retrace_jobs gauge\n"]
    lines += [f'retrace_jobs{{state="{state}"}} {count}\n' for state, count in sorted(jobs.items())]
    lines += ["# TYPE retrace_mails_waiting gauge\n", f"retrace_mails_waiting {mails}\n"]
    counted = generate_latest(service.metrics.registry).decode()
    return Response(counted + "".join(lines), media_type=CONTENT_TYPE_LATEST)
