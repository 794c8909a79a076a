"""All measures by name, in the order in which they are taken: what adds to a data set comes last."""

from collections.abc import Callable

from bench import batches, evidence, importing, pages, reading, rebuilding, running, writing
from bench.processes import BenchError
from bench.stage import Stage, say
from bench.table import Row
from bench.writing import Facts, Measured

Measure = Callable[[Stage, Facts], Measured]

MEASURES: dict[str, Measure] = {
    "P1": writing.p1,
    "P2": writing.p2,
    "P3": writing.p3,
    "P4": batches.p4,
    "P5": reading.p5,
    "P13": writing.p13,
    "P6": reading.p6,
    "pages": pages.pages,
    "P10": running.p10,
    "P11": running.p11,
    "P14": running.p14,
    "P7": rebuilding.p7,
    "P8": rebuilding.p8,
    "P9": evidence.p9,
    "proof": evidence.proof,
    "recovery": running.recovery,
    "v1": importing.v1,
}


def take(stage: Stage, names: list[str]) -> tuple[list[Row], Facts]:
    """Take the peers and the measures of these *names*; one that cannot be taken does not stop the rest."""
    rows: list[Row] = []
    facts: Facts = {}
    for name, measure in {"peers": writing.peers, **MEASURES}.items():
        if name != "peers" and name not in names:
            continue
        say(f"{name}: {(measure.__doc__ or '').partition(chr(10))[0]}")
        try:
            found, facts[name] = measure(stage, facts)
        except BenchError as error:
            stage.note_fault(f"{name} could not be measured: {error}")
            found = [Row(name, "could not be measured", "see below")]
        for row in found:
            say(f"  {row.measured}")
        rows += found
    return rows + [_loaded(data) for data in stage.loaded], facts


def _loaded(facts: Facts) -> Row:
    what = f"{facts['runs']:,} runs through POST /runs, one asyncio client"
    return Row("load", what, f"{facts['rate']:,.0f}/s", f"projections at the head {facts['catch_up_s']:.2f} s later")
