"""/healthz, /readyz, /metrics: is the process alive, is the service whole, what does it do."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import prometheus_client as prometheus
from aiohttp import web
from attrs import define, field, frozen
from prometheus_client.core import GaugeMetricFamily

from api.http.answers import answer
from api.http.inputs import SERVICE, params
from api.service import Service
from eventlog.batch import Batch
from eventlog.writer import HELD_US_MAX
from projections.supervisor import Projections, Standing

_TYPE_LENGTH_MAX = 200


async def healthz(request: web.Request) -> web.Response:
    """Say that the process lives."""
    params(request)
    return await answer(request, b'{"status":"ok"}')


async def readyz(request: web.Request) -> web.Response:
    """Say whether the service is whole: 503 only when it is unready."""
    params(request)
    service = request.app[SERVICE]
    status, reasons = judged(service)
    head = service.log.head
    projections = {
        name: {"position": one.position, "lag": max(0, head - one.position), "state": one.state}
        for name, one in service.projections.standings.items()
    }
    body = {"status": status, "reasons": reasons, "projections": projections}
    if status == "unready":
        return web.Response(status=503, body=orjson.dumps(body), content_type="application/json")
    return await answer(request, orjson.dumps(body))


def judged(service: Service) -> tuple[str, list[str]]:
    """Return `ready`, `degraded` or `unready`, and why."""
    unready, degraded = _unready(service), _degraded(service)
    return "unready" if unready else "degraded" if degraded else "ready", unready + degraded


def _unready(service: Service) -> list[str]:
    reasons: list[str] = []
    if service.log.halted is not None:
        reasons.append("the log is halted: a write or an fsync failed; restart the server")
    if service.log.notary.refused is not None:
        reasons.append(
            "nothing is signed any more: the tree does not begin with the checkpoint; run `runlog log verify`"
        )
    for error in list(service.log.corrupt.values())[:5]:
        reasons.append(
            f"event {error.seq} (segment {error.segment}, byte {error.offset}) does not match its hash; run `runlog log verify`"
        )
    for one in service.projections.standings.values():
        if one.error is not None:
            does = "tries again" if one.is_retrying else "stopped"
            reasons.append(f"projection {one.name} {does} at {_where(one.error)}")
        elif _is_nothing_to_read(one) and (one.is_rebuilding or _is_catching_up(service, one)):
            reasons.append(f"no run can be read yet: {_progress(service, one)}")
    for name, lag_s in service.projections.lags_s().items():
        if lag_s > service.settings.projection_lag_max_s and not _is_being_made(service, name):
            reasons.append(f"projection {name} is {lag_s:.0f} s behind the log")
    for folder in (service.settings.data_dir, service.settings.runs_dir, service.settings.attachments_dir):
        try:
            free = _free_bytes(folder)
        except FileNotFoundError:
            reasons.append(f"the {folder.name} directory is gone")
        except OSError as error:
            reasons.append(f"the {folder.name} directory cannot be opened: {error.strerror}")
        else:
            if free < service.settings.disk_free_bytes_min:
                reasons.append(f"only {free} bytes are free for the {folder.name} directory; make space")
    return reasons


def _is_being_made(service: Service, name: str) -> bool:
    """Tell whether it is behind because it is folded anew; only the catalog holds up runs meanwhile, if it has no state."""
    return name != "catalog" and service.projections.standings[name].state == "rebuilding"


def _degraded(service: Service) -> list[str]:
    reasons: list[str] = []
    if service.log.held_us > HELD_US_MAX:
        held = service.log.held_us / 1e6
        reasons.append(f"the clock stepped back: the log's time runs {held:.0f} s ahead of it until it has caught up")
    if service.log.notary.failing is not None:
        unsigned = service.log.notary.unsigned_events
        reasons.append(f"the checkpoint cannot be written, so {unsigned} events are not signed yet; it is tried again")
    reasons += service.witnesses.troubles
    for one in service.projections.standings.values():
        if one.is_rebuilding:
            reasons.append(f"projection {one.name} is being rebuilt")
        elif one.rebuild_error is not None:
            where = _where(one.rebuild_error)
            reasons.append(f"the rebuild of projection {one.name} stopped at {where}; the state before it goes on")
        elif not _is_nothing_to_read(one) and _is_catching_up(service, one):
            reasons.append(_progress(service, one))
    return reasons


def _where(error: dict[str, Any]) -> str:
    kind = f" ({error['type']})" if error["type"] else ""
    return f"event {error['seq']}{kind}: {error['message']}"


def _is_nothing_to_read(one: Standing) -> bool:
    """Tell whether reads of runs have no state at all; they need the catalog alone."""
    return one.name == "catalog" and one.generation == 0


def _is_catching_up(service: Service, one: Standing) -> bool:
    """Tell whether it has something to make up for since the start; before it was heard of, it is given time to open."""
    done = one.building if one.building is not None else one.position if one.generation > 0 else None
    is_behind = done is not None and done < one.goal  # a new log has nothing to make up for
    is_due = is_behind or service.projections.age_s > service.settings.projection_lag_max_s
    return is_due and one.state == "rebuilding" and not one.is_rebuilding and one.error is None


def _progress(service: Service, one: Standing) -> str:
    position = one.position if one.building is None else one.building
    return f"projection {one.name} is catching up: it is at event {position} of {service.log.head}"


def _free_bytes(folder: Path) -> int:
    """Return how much may be written to *folder*, which is opened for it: without a file handle nothing works for long."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstatvfs(fd)
    finally:
        os.close(fd)
    return found.f_bavail * found.f_frsize


@define
class Metrics:
    """What is counted, in the form that Prometheus reads."""

    registry: prometheus.CollectorRegistry = field(factory=prometheus.CollectorRegistry)
    appends: prometheus.Counter = field(init=False)
    batch_events: prometheus.Histogram = field(init=False)
    requests: prometheus.Counter = field(init=False)
    _children: dict[tuple[str, str, int], Any] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Make the series."""
        self.appends = prometheus.Counter("runlog_appended_events", "Events appended", registry=self.registry)
        self.batch_events = prometheus.Histogram(
            "runlog_batch_events",
            "Events in one commit",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096),
            registry=self.registry,
        )
        self.requests = prometheus.Counter(
            "runlog_http_requests", "HTTP requests", ("method", "route", "status"), registry=self.registry
        )

    def count(self, method: str, route: str, status: int) -> None:
        """Count one answer."""
        child = self._children.get((method, route, status))
        if child is None:
            child = self._children[method, route, status] = self.requests.labels(method, route, str(status))
        child.inc()

    def watch(self, service: Service) -> None:
        """Follow *service*: counters by its commits, gauges by asking when they are read."""
        service.log.on_commit(self._committed)
        fsync = prometheus.Histogram(
            "runlog_fsync_seconds",
            "Time of one write and fsync",
            buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
            registry=self.registry,
        )
        service.log.on_fsync(fsync.observe)
        self._gauge("runlog_log_events", "Events in the log", lambda: service.log.head + 1)
        self._gauge("runlog_queue_events", "Events that wait to be written", lambda: service.log.queued_events)
        self._gauge(
            "runlog_unindexed_events", "Events not yet in the saved index", lambda: service.log.unindexed_events
        )
        self._gauge(
            "runlog_log_corrupt_events", "Events found not to match their hash", lambda: len(service.log.corrupt)
        )
        self._gauge(
            "runlog_checkpoint_events", "Events that the checkpoint covers", lambda: service.log.notary.published.size
        )
        self._gauge("runlog_unsigned_events", "Events not yet covered", lambda: service.log.notary.unsigned_events)
        for name, one in service.projections.standings.items():
            self._projection("position", name, lambda one=one: one.position)
            self._projection("lag", name, lambda one=one: max(0, service.log.head - one.position))
            self._projection("failed", name, lambda one=one: int(one.error is not None))
        self.registry.register(_Stopped(service.projections))
        self._gauge(
            "runlog_quarantined_files",
            "Files found changed from outside since the start",
            lambda: service.projections.standings["files"].quarantined,
        )

    def _committed(self, batch: Batch) -> None:
        self.appends.inc(len(batch.events))
        self.batch_events.observe(len(batch.events))

    def _gauge(self, name: str, text: str, value: Any) -> None:
        prometheus.Gauge(name, text, registry=self.registry).set_function(value)

    def _projection(self, what: str, name: str, value: Any) -> None:
        self._gauge(f"runlog_projection_{what}_{name}", f"Projection {name}: {what}", value)


@frozen
class _Stopped(prometheus.registry.Collector):
    """At which event each projection stopped: one series for each that has, and none for the others."""

    _projections: Projections

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the series of now."""
        stopped = GaugeMetricFamily(
            "runlog_projection_stopped", "Event that a projection stopped at", labels=("name", "seq", "type")
        )
        for one in self._projections.standings.values():
            if one.error is not None and one.state == "failed":
                stopped.add_metric((one.name, str(one.error["seq"]), one.error["type"][:_TYPE_LENGTH_MAX]), 1)
        yield stopped


METRICS = web.AppKey("metrics", Metrics)


async def metrics(request: web.Request) -> web.Response:
    """Return every series."""
    params(request)
    text = prometheus.generate_latest(request.app[METRICS].registry)
    return await answer(request, text, form=prometheus.CONTENT_TYPE_LATEST)
