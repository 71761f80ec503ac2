"""The application: its paths, its limits and its numbers."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import platform
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio.to_thread
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import ProcessCollector as Process
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .inputs import Refused, read
from .logs import LOGGER
from .model import Model
from .settings import Settings

_REQUEST_ID = re.compile(r"[\w.:-]{1,100}")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CLIENT_CLOSED = 499  # nginx's word for a caller who did not wait.


class Service:
    """One model behind HTTP.

    ``failed`` is called when the model cannot be loaded: a server without a model should end, not
    wait.
    """

    def __init__(self, settings: Settings, failed: Callable[[], None]) -> None:
        self.settings = settings
        self.about = settings.describe()
        self.model: Model | None = None
        self.stopping = False
        self._failed = failed
        self._threads = anyio.CapacityLimiter(settings.threads)
        self.numbers = CollectorRegistry()
        Process(registry=self.numbers)
        self._requests = Counter(
            "mlops_requests", "Requests for predictions.", ["status"], registry=self.numbers
        )
        self._seconds = Histogram(
            "mlops_request_seconds",
            "Time from a request's first byte to its answer.",
            buckets=_BUCKETS,
            registry=self.numbers,
        )
        self._rows = Counter("mlops_rows", "Rows that were predicted.", registry=self.numbers)
        self._waiting = Gauge(
            "mlops_requests_in_progress", "Requests being answered.", registry=self.numbers
        )
        self._ready = Gauge("mlops_ready", "1 when the model answers.", registry=self.numbers)
        information = Gauge(
            "mlops_model_info", "Which model this is.", ["name", "version"], registry=self.numbers
        )
        information.labels(str(self.about.get("name", "")), str(self.about.get("version", ""))).set(
            1
        )

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/ready", self.ready),
                Route("/version", self.version),
                Route("/metrics", self.metrics),
                Route("/predict", self.predict, methods=["POST"]),
            ],
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        # /health answers while the model loads: a slow load is not a reason to be killed.
        loading = asyncio.create_task(self._load())
        yield
        self.stopping = True
        loading.cancel()

    async def _load(self) -> None:
        started = time.perf_counter()
        try:
            model = await anyio.to_thread.run_sync(Model, self.settings.model)
            warmed = await anyio.to_thread.run_sync(model.warm_up)
        except Exception:  # noqa: BLE001 - the model's code may raise anything.
            LOGGER.exception("the model cannot be loaded")
            self._failed()
            return
        self.model = model
        self._ready.set(1)
        fields = {"seconds": round(time.perf_counter() - started, 3), "warmed_up": warmed}
        LOGGER.info("ready", extra={"fields": fields})

    async def health(self, _request: Request) -> Response:
        """The process runs."""
        return JSONResponse({"status": "alive"})

    async def ready(self, _request: Request) -> Response:
        """The model answers."""
        is_ready = self.model is not None and not self.stopping
        status = "ready" if is_ready else "stopping" if self.stopping else "loading"
        return JSONResponse({"status": status}, status_code=200 if is_ready else 503)

    async def version(self, _request: Request) -> Response:
        """Which model this is, and of which build."""
        return JSONResponse({**self.about, "python": platform.python_version()})

    async def metrics(self, _request: Request) -> Response:
        """The numbers, in Prometheus' text format."""
        return Response(generate_latest(self.numbers), media_type="text/plain; version=0.0.4")

    async def predict(self, request: Request) -> Response:
        """Predict the rows of the body."""
        started = time.perf_counter()
        given = request.headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        fields: dict[str, Any] = {"request_id": request_id}
        with self._waiting.track_inprogress():
            status, answer = await self._answer(request, fields)
        seconds = time.perf_counter() - started
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)
        fields |= {"status": status, "milliseconds": round(seconds * 1000, 2)}
        LOGGER.info("predict", extra={"fields": fields})
        headers = {"x-request-id": request_id}
        if status == 503:  # noqa: PLR2004
            headers["retry-after"] = "1"
        return JSONResponse(answer, status_code=status, headers=headers)

    async def _answer(self, request: Request, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        model = self.model
        if model is None:
            return 503, {"error": "the model is not loaded yet"}
        try:
            body = await self._body(request)
            predicted, rows = await self._in_thread(self._work, model, body)
        except Refused as refusal:
            fields["error"] = refusal.message
            problems = [
                {key: value for key, value in dataclasses.asdict(item).items() if value is not None}
                for item in refusal.problems
            ]
            return refusal.status, {"error": refusal.message, "problems": problems}
        except ClientDisconnect:
            return _CLIENT_CLOSED, {"error": "the caller went away"}
        except Exception:  # noqa: BLE001 - the model's code may raise anything.
            # What the model raised may quote its input: it goes to the log, not to the caller.
            LOGGER.exception("the model failed", extra={"fields": dict(fields)})
            return 500, {"error": "the model failed; the log has the reason"}
        fields["rows"] = rows
        self._rows.inc(rows)
        return 200, {
            **predicted,
            "model": self.about.get("name"),
            "version": self.about.get("version"),
        }

    def _in_thread(self, function: Callable[..., Any], *arguments: object) -> Awaitable[Any]:
        return anyio.to_thread.run_sync(
            functools.partial(function, *arguments), limiter=self._threads
        )

    def _work(self, model: Model, body: bytes) -> tuple[dict[str, Any], int]:
        table = read(body, model.signature, max_rows=self.settings.max_rows)
        return model.predict(table), table.rows

    async def _body(self, request: Request) -> bytes:
        limit = self.settings.max_body_bytes
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
        if kind.lower() != "application/json":
            raise Refused(415, f"expected application/json, not {kind}")
        length = request.headers.get("content-length", "0")
        refusal = Refused(413, f"the body is larger than {limit} bytes")
        if length.isdigit() and int(length) > limit:
            raise refusal
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise refusal
            parts.append(part)
        return b"".join(parts)
