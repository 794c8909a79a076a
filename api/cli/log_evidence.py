"""`runlog log info | verify | prove | check-proof`: what the log has signed, whether it holds, and proofs of it.

None of them takes a lock, nor writes into the data directory unless asked to; all work beside a server.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.settings import DATA_DIR, Settings

if TYPE_CHECKING:
    from eventlog.archive import Archive
    from eventlog.proof_text import LogProof
    from eventlog.signing import Verifier
    from eventlog.verdict import Verdict

data_dir_option = click.option("--data-dir", metavar="DIR", help=f"Where the log is (default {DATA_DIR}).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(epilog="Example: runlog log info --data-dir var")
@data_dir_option
@json_option
def info(data_dir: str | None, as_json: bool) -> int:
    """Show which log this is, the key that checks it, and what it has signed.

    Give the key to whoever shall be able to check what the log proves, by a way that cannot be changed later.
    """
    from contextlib import closing

    from eventlog.signing import encode_base64

    with closing(opened(settings_of(data_dir))) as archive:
        identity, checkpoint = archive.identity, archive.checkpoint
        facts: dict[str, Any] = {
            "log_id": identity.log_id,
            "origin": identity.origin,
            "created": identity.created,
            "key": identity.vkey,
            "checkpoint": {"size": checkpoint.size, "root": encode_base64(checkpoint.root)},
            "cosigned_by": [each.name for each in archive.note.signatures if not identity.verifier.made(each)],
            "segments": len(archive.segments()),
        }
    if as_json:
        echo_json(facts)
        return 0
    click.echo(f"log         {facts['log_id']}\norigin      {facts['origin']}\ncreated     {facts['created']}")
    click.echo(f"key         {facts['key']}")
    click.echo(f"checkpoint  {checkpoint.size} events, root {facts['checkpoint']['root']}")
    click.echo(f"witnesses   {', '.join(facts['cosigned_by']) or 'none'}\nsegments    {facts['segments']}")
    return 0


@click.command(epilog="Example: runlog log verify --data-dir var")
@click.option("--key", "vkey", metavar="VKEY", help="The log's key, as it was published (see `runlog log info`).")
@click.option("--record", is_flag=True, help="Keep the outcome in the data directory, for the page /rmos/log to tell.")
@data_dir_option
@json_option
def verify(vkey: str | None, record: bool, data_dir: str | None, as_json: bool) -> int:
    """Check every byte of the log against what was signed, and every attachment that it names.

    Works beside a server too. The first bad event is named, the rest counted; the exit code is 1 if
    there is any. Without --key it can only tell that the log agrees with itself.
    """
    from api.cli.progress import bar
    from api.evidence.named import NAMING
    from eventlog.clock import SystemClock, time_text
    from eventlog.verify import segment_bytes
    from eventlog.verify import verify as verify_log
    from projections.standing import LogMissing

    key = _key(vkey) if vkey is not None else None
    settings = settings_of(data_dir)
    if not _was_log(settings.data_dir):
        raise LogMissing(str(settings.data_dir))
    began = time_text(SystemClock().now_us())
    with bar("Verifying", segment_bytes(settings.data_dir), "bytes") as on_progress:
        verdict = verify_log(settings.data_dir, settings.attachments_dir, NAMING, key=key, on_progress=on_progress)
    if record:
        _record(settings.data_dir, began, verdict)
    if as_json:
        echo_json(verdict.as_json())
    else:
        _print(verdict)
    return 0 if verdict.is_good else 1


def _record(data_dir: Path, began: str, verdict: "Verdict") -> None:
    """Keep the outcome; where it cannot be kept, it is told nevertheless."""
    from api.evidence.verified import Verified
    from eventlog.clock import SystemClock, time_text

    try:
        Verified(began, time_text(SystemClock().now_us()), verdict.as_json()).keep(data_dir)
    except OSError as error:
        click.echo(f"runlog: the outcome could not be kept: {error.strerror}", err=True)


@click.command(epilog="Example: runlog log prove --run run_0123456789ab -o proofs")
@click.option("--run", "run_id", metavar="ID", required=True, help="The run.")
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the files go.",
)
@data_dir_option
@json_option
def prove(run_id: str, folder: Path, data_dir: str | None, as_json: bool) -> int:
    """Write, for each event of a run, its exact bytes and the proof that the log has them.

    <seq>.event.json and <seq>.tlog-proof; `runlog log check-proof` checks the pair, without a server.
    """
    from contextlib import closing

    from projections.run.errors import RunNotFound
    from projections.run.events import is_run_id

    with closing(opened(settings_of(data_dir))) as archive:
        found = archive.stream(run_id) if is_run_id(run_id) else []
        proofs = [archive.proof(recorded) for recorded in found]  # all of them, before a file is written
        vkey = archive.identity.vkey
    if not found:
        raise RunNotFound(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    for recorded, proof in zip(found, proofs, strict=True):
        (folder / f"{recorded.seq}.event.json").write_bytes(recorded.bytes)
        (folder / f"{recorded.seq}.tlog-proof").write_bytes(proof.data)
    written = [recorded.seq for recorded in found]
    if as_json:
        echo_json({"run_id": run_id, "seqs": written, "folder": str(folder), "key": vkey})
        return 0
    click.echo(f"{len(written)} events of {run_id} and their proofs are in {folder}.")
    click.echo(f"Next: runlog log check-proof {folder / str(written[0])}.tlog-proof --key {vkey}")
    return 0


@click.command("check-proof", epilog="Example: runlog log check-proof proofs/17.tlog-proof --key VKEY")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", "vkey", metavar="VKEY", required=True, help="The log's key, as it was published.")
@click.option(
    "--witness",
    "witness_vkeys",
    metavar="VKEY",
    multiple=True,
    help="The key of a witness that must have cosigned the checkpoint; may be repeated.",
)
@json_option
def check_proof(file: Path, vkey: str, witness_vkeys: tuple[str, ...], as_json: bool) -> int:
    """Check <seq>.tlog-proof with the <seq>.event.json beside it; no server and no data directory are needed.

    The exit code is 1 if the log did not sign that this event stands at this place, or a --witness did not cosign it.
    """
    from hashlib import sha256

    from eventlog.merkle import ProofRefused
    from eventlog.note import NoteRefused
    from eventlog.proof_text import LogProof

    key, witnesses = _key(vkey), [_witness_key(each) for each in witness_vkeys]
    event_path = file.with_name(f"{file.name.removesuffix('.tlog-proof')}.event.json")
    if not event_path.is_file():
        raise click.UsageError(f"There is no {event_path.name} beside {file.name}: the proof is of that file's bytes.")
    event = event_path.read_bytes()
    facts: dict[str, Any] = {"file": str(file), "event_sha256": sha256(event).hexdigest()}
    try:
        proof = LogProof.parse(file.read_bytes())
        checkpoint = proof.verify(sha256(event).digest(), key)
        for witness in witnesses:
            proof.note.signed_by((witness,))
    except (NoteRefused, ProofRefused) as error:
        return _told({"ok": False, **facts, "reason": error.reason}, f"NOT PROVEN: {error.reason}.", as_json)
    facts |= {"seq": proof.index, "size": checkpoint.size, "origin": checkpoint.origin}
    facts["also_signed_by"] = [each.name for each in proof.note.signatures if not key.made(each)]
    facts["cosignatures"] = _cosignatures(proof, key, witnesses)
    words = f"Proven: these bytes are event {proof.index} of {checkpoint.origin}, among the first {checkpoint.size}."
    return _told({"ok": True, **facts}, "\n".join([words, *map(_in_words, facts["cosignatures"])]), as_json)


def _cosignatures(proof: "LogProof", key: "Verifier", witnesses: "list[Verifier]") -> list[dict[str, Any]]:
    """Return who else signed the checkpoint, when, and whether that was checked: only with a key that was given."""
    from datetime import UTC, datetime

    from eventlog.signing import time_of

    found = []
    for each in proof.note.signatures:
        if not key.made(each):
            seconds = time_of(each)
            time = None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
            found.append({"name": each.name, "time": time, "checked": any(one.made(each) for one in witnesses)})
    return found


def _in_words(cosignature: dict[str, Any]) -> str:
    name, time = cosignature["name"], cosignature["time"] or "no time"
    if cosignature["checked"]:
        return f"Cosigned by {name} at {time}."
    return f"Not checked: a line of {name}, which tells {time}. Give the key of that witness with --witness."


def _told(facts: dict[str, Any], words: str, as_json: bool) -> int:
    if as_json:
        echo_json(facts)
    else:
        click.echo(words)
    return 0 if facts["ok"] else 1


def settings_of(data_dir: str | None) -> Settings:
    """Return the settings for a command that reads the log in *data_dir*."""
    import os

    from api.setting_sources import load

    return load({"data_dir": data_dir}, os.environ).settings


def opened(settings: Settings) -> "Archive":
    """Return the log as it was signed last.

    Raises:
        LogMissing: there is none.
        LogDamaged: it is not one that can be read.

    """
    from eventlog.archive import Archive
    from eventlog.errors import LogDamaged
    from projections.standing import LogMissing

    archive = Archive.open(settings.data_dir)
    if archive is None and _was_log(settings.data_dir):
        raise LogDamaged("log/log.json is gone, but other files of a log are there")
    if archive is None:
        raise LogMissing(str(settings.data_dir))
    return archive


def _was_log(data_dir: Path) -> bool:
    """Tell whether a log is or was in *data_dir*: without its `log.json` it is a damaged one."""
    return any((data_dir / "log" / name).exists() for name in ("log.json", "checkpoint", "segments"))


def echo_json(facts: dict[str, Any]) -> None:
    """Print *facts* as JSON."""
    import json

    click.echo(json.dumps(facts))


def _key(vkey: str, option: str = "--key") -> "Verifier":
    from eventlog.signing import KeyRefused, Verifier

    try:
        return Verifier.parse(vkey.strip())
    except KeyRefused as error:
        raise click.BadParameter(error.message, param_hint=option) from None


def _witness_key(vkey: str) -> "Verifier":
    from eventlog.signing import COSIGNATURE

    key = _key(vkey, "--witness")
    if key.kind != COSIGNATURE:
        raise click.BadParameter("This is the key of a log, not of a witness.", param_hint="--witness")
    return key


def _print(verdict: "Verdict") -> None:
    click.echo(f"{verdict.events} events, {verdict.signed} of them signed, {verdict.blobs} attachments.")
    if verdict.unsigned_tail:
        click.echo(f"unsigned tail: {verdict.unsigned_tail} events above the checkpoint.")
    if verdict.tiles_missing:
        click.echo(f"{verdict.tiles_missing} tiles are not there; a server makes them again.")
    for note in verdict.notes:
        click.echo(f"note: {note}")
    if verdict.first_bad is not None:
        click.echo(f"FIRST BAD: {verdict.first_bad.in_words}")
        for fault in verdict.faults:
            if fault is not verdict.first_bad:
                click.echo(f"bad: {fault.in_words}")
        click.echo(f"{verdict.bad} bad. Next: keep the directory as it is, and restore from a backup what is listed.")
    elif verdict.is_self_consistent_only:
        click.echo(
            "Good, but self-consistent only: the key came from the log itself. Give the published one with --key."
        )
        click.echo(f"The key was {verdict.key}")
    else:
        click.echo("Good: all of it is what the log signed.")
