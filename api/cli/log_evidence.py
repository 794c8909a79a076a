"""`runlog log info | verify | prove | check-proof`: what the log has signed, whether it holds, and proofs of it.

None of them takes a lock or writes into the data directory; all work beside a server.
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
@data_dir_option
@json_option
def verify(vkey: str | None, data_dir: str | None, as_json: bool) -> int:
    """Check every byte of the log against what was signed, and every attachment that it names.

    Works beside a server too. The first bad event is named, the rest counted; the exit code is 1 if
    there is any. Without --key it can only tell that the log agrees with itself.
    """
    from api.cli.progress import bar
    from api.evidence.named import NAMING
    from eventlog.verify import segment_bytes
    from eventlog.verify import verify as verify_log
    from projections.standing import require_log

    key = _key(vkey) if vkey is not None else None
    settings = settings_of(data_dir)
    require_log(settings.data_dir)
    with bar("Verifying", segment_bytes(settings.data_dir), "bytes") as on_progress:
        verdict = verify_log(settings.data_dir, settings.attachments_dir, NAMING, key=key, on_progress=on_progress)
    if as_json:
        echo_json(verdict.as_json())
    else:
        _print(verdict)
    return 0 if verdict.is_good else 1


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

    written: list[int] = []
    with closing(opened(settings_of(data_dir))) as archive:
        for recorded in archive.events(stream=run_id) if is_run_id(run_id) else ():
            proof = archive.proof(recorded.seq)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{recorded.seq}.event.json").write_bytes(recorded.bytes)
            (folder / f"{recorded.seq}.tlog-proof").write_bytes(proof.data)
            written.append(recorded.seq)
        vkey = archive.identity.vkey
    if not written:
        raise RunNotFound(run_id)
    if as_json:
        echo_json({"run_id": run_id, "seqs": written, "folder": str(folder), "key": vkey})
        return 0
    click.echo(f"{len(written)} events of {run_id} and their proofs are in {folder}.")
    click.echo(f"Next: runlog log check-proof {folder / str(written[0])}.tlog-proof --key {vkey}")
    return 0


@click.command("check-proof", epilog="Example: runlog log check-proof proofs/17.tlog-proof --key VKEY")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", "vkey", metavar="VKEY", required=True, help="The log's key, as it was published.")
@json_option
def check_proof(file: Path, vkey: str, as_json: bool) -> int:
    """Check <seq>.tlog-proof with the <seq>.event.json beside it; no server and no data directory are needed.

    The exit code is 1 if the log did not sign that this event stands at this place.
    """
    from hashlib import sha256

    from eventlog.merkle import ProofRefused
    from eventlog.note import NoteRefused
    from eventlog.proof_text import LogProof

    key = _key(vkey)
    event_path = file.with_name(f"{file.name.removesuffix('.tlog-proof')}.event.json")
    if not event_path.is_file():
        raise click.UsageError(f"There is no {event_path.name} beside {file.name}: the proof is of that file's bytes.")
    event = event_path.read_bytes()
    facts: dict[str, Any] = {"file": str(file), "event_sha256": sha256(event).hexdigest()}
    try:
        proof = LogProof.parse(file.read_bytes())
        checkpoint = proof.verify(sha256(event).digest(), key)
    except (NoteRefused, ProofRefused) as error:
        return _told({"ok": False, **facts, "reason": error.reason}, f"NOT PROVEN: {error.reason}.", as_json)
    facts |= {"seq": proof.index, "size": checkpoint.size, "origin": checkpoint.origin}
    words = f"Proven: these bytes are event {proof.index} of {checkpoint.origin}, among the first {checkpoint.size}."
    return _told({"ok": True, **facts, **_witnessed(proof, key)}, words, as_json)


def _witnessed(proof: "LogProof", key: "Verifier") -> dict[str, Any]:
    """Return whose other lines the checkpoint carries; they are not checked here."""
    return {"also_signed_by": [each.name for each in proof.note.signatures if not key.made(each)]}


def _told(facts: dict[str, Any], words: str, as_json: bool) -> int:
    if as_json:
        echo_json(facts)
    else:
        click.echo(words)
    return 0 if facts["ok"] else 1


def settings_of(data_dir: str | None) -> Settings:
    """Return the settings for a command that reads the log in *data_dir*."""
    import os

    from api.settings import load

    return load({"data_dir": data_dir}, os.environ).settings


def opened(settings: Settings) -> "Archive":
    """Return the log as it was signed last.

    Raises:
        LogMissing: there is none.
        LogDamaged: it is not one that can be read.

    """
    from eventlog.archive import Archive
    from projections.standing import LogMissing

    archive = Archive.open(settings.data_dir)
    if archive is None:
        raise LogMissing(str(settings.data_dir))
    return archive


def echo_json(facts: dict[str, Any]) -> None:
    """Print *facts* as JSON."""
    import json

    click.echo(json.dumps(facts))


def _key(vkey: str) -> "Verifier":
    from eventlog.signing import KeyRefused, Verifier

    try:
        return Verifier.parse(vkey.strip())
    except KeyRefused as error:
        raise click.BadParameter(error.message, param_hint="--key") from None


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
