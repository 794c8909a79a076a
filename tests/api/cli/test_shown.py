"""What others wrote does nothing to the terminal that it is shown on."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from api.cli.__main__ import main
from api.cli.shown import shown


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_shown_prints_and_only_what_does_not_is_changed(text: str):
    assert shown(text).isprintable()
    assert not text.isprintable() or shown(text) == text


def test_a_record_of_v1_cannot_clear_the_screen(tmp_path: Path, capsys):
    old = tmp_path / "runs.json"
    old.write_text('{"\\u001b[2J\\u001b[Hall is well": {"status": 1}, "\\u202ex": 5}')
    main(["migrate", "--v1-path", str(old), "--data-dir", str(tmp_path / "data"), "--dry-run"])
    told = capsys.readouterr().out
    assert r"\x1b[2J\x1b[Hall is well" in told
    assert told.replace("\n", "").isprintable()
