"""From ``metaal import`` to ``metaal export`` and back: nothing that is known of a label is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.exports import OPTIONS, SAID, export, labelled_table

from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.marks import Mark, mark_of
from agents.acquisition.tool.session import Session


def test_from_import_to_export_and_back(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An export gives an empty session all that the first one knew, also when the pool was sorted anew."""
    before = labelled_table(work / "pool.csv")
    export(*SAID, "--out", "out.csv")
    lines = (work / "pool.csv").read_text().splitlines()
    (work / "pool.csv").write_text("\n".join([lines[0], *sorted(lines[1:], reverse=True)]) + "\n")
    (work / "pool.csv.labels.csv").unlink()
    assert main(["import", "pool.csv", *SAID, "--from", "out.csv"]) == 0
    after = Session.open(work / "pool.csv.labels.csv", read_items(work / "pool.csv", OPTIONS))

    def known(session: Session) -> dict[str, tuple[str | None, str, Mark]]:
        return {
            session.contents.names[i]: (answer.label, answer.drawn, mark_of(session, answer))
            for i, answer in session.answers.items()
            if answer.label is not None
        }

    assert known(after) == known(before) and len(known(after)) == 3
    export(*SAID, "--out", "again.csv")
    assert (work / "again.csv").read_bytes() == (work / "out.csv").read_bytes()


def test_an_export_is_a_pool_of_its_own(work: Path) -> None:
    labelled_table(work / "pool.csv")
    export(*SAID, "--out", "out.csv", "--unlabelled")
    items = read_items(work / "out.csv", ReadOptions(meta=("site", "ward")))
    assert items.used == ("weight", "length", "score (data)") and items.ids[0] == "r3"
    assert items.labels[:3] == ('böse, "ape"', "bear", "bear") and items.counts == {
        'böse, "ape"': 1,
        "bear": 2,
    }


def test_decimal_commas_of_a_spreadsheet_are_read(work: Path) -> None:
    labelled_table(work / "pool.csv")
    export(*SAID, "--out", "out.csv")
    text = (work / "out.csv").read_text().replace("-0.25", '"-0,25"').replace(",2.5,", ',"2,5",')
    (work / "out.csv").write_text(text)
    assert main(["import", "pool.csv", *SAID, "--from", "out.csv", "--labels", "new.csv"]) == 0
    session = Session.open(work / "new.csv", read_items(work / "pool.csv", OPTIONS))
    mark = mark_of(session, session.answers[3])
    assert (mark.score, mark.seconds) == (-0.25, 2.5)


def test_a_score_in_somebody_elses_table_is_not_ours(work: Path) -> None:
    labelled_table(work / "pool.csv")
    (work / "theirs.csv").write_text("item,label,score\nr1,bear,0.99\n")
    assert main(["import", "pool.csv", *SAID, "--from", "theirs.csv"]) == 0
    session = Session.open(work / "pool.csv.labels.csv", read_items(work / "pool.csv", OPTIONS))
    mark = mark_of(session, session.answers[1])
    assert mark.score is None and mark.time


def test_the_file_of_answers_names_its_pool(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled_table(work / "pool.csv")
    export(*SAID, "--out", "a.csv")
    export(*SAID, "--out", "b.csv", pool="pool.csv.labels.csv")
    assert (work / "a.csv").read_bytes() == (work / "b.csv").read_bytes()
    (work / "x.csv.labels.csv").write_text("item,label\nr1,a\n")
    export("--out", "c.csv", pool="x.csv.labels.csv", code=2)
    assert "'x.csv' is not there; give the pool" in capsys.readouterr().err


def test_answers_of_items_that_are_gone_are_told(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled_table(work / "pool.csv")
    lines = (work / "pool.csv").read_text().splitlines()
    (work / "pool.csv").write_text("\n".join(line for line in lines if not line.startswith("r3,")) + "\n")
    export(*SAID, "--out", "o.csv")
    assert "1 answers are left out, since their items are not in the data now" in capsys.readouterr().out
