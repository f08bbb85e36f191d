"""Files that are written whole or not at all: mode, links and full disks."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from router.runs import whole_file as module
from router.runs.whole_file import whole_file, write_whole


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_a_file_keeps_its_mode(tmp_path: Path, mode: int):
    file = tmp_path / "out.jsonl"
    file.write_text("old")
    file.chmod(mode)
    write_whole(file, "new")
    assert (file.read_text(), mode_of(file)) == ("new", mode)


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "new", "x")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "new") == 0o640


def test_a_link_stays_and_the_file_behind_it_is_written(tmp_path: Path):
    (tmp_path / "behind").mkdir()
    file = tmp_path / "behind" / "real"
    file.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(file)
    write_whole(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"


@pytest.mark.parametrize("trap", ["link", "folder", "hard link to a link"])
def test_what_somebody_put_under_the_partial_files_name_is_never_opened(tmp_path: Path, trap: str):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    part = tmp_path / ".out.part"
    if trap == "folder":
        part.mkdir()
    else:
        part.symlink_to(victim)
    write_whole(tmp_path / "out", "new")
    assert (tmp_path / "out").read_text() == "new"
    assert victim.read_text() == "precious"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".out.part", "out", "victim"]


def test_the_partial_file_is_for_its_owner_alone(tmp_path: Path):
    with whole_file(tmp_path / "out") as stream:
        stream.write("secret")
        stream.flush()
        assert mode_of(tmp_path / ".out.part") == 0o600


def test_a_partial_file_that_a_killed_run_left_is_taken_away(tmp_path: Path):
    (tmp_path / ".out.part").write_text("half")
    write_whole(tmp_path / "out", "whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("call", ["fsync", "fchmod"])
def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "out"
    file.write_text("old")
    monkeypatch.setattr(module.os, call, full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(file, "new")
    assert caught.value.filename == str(file)
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_an_error_of_the_writer_leaves_the_old_file(tmp_path: Path):
    file = tmp_path / "out"
    file.write_text("old")
    with pytest.raises(TypeError), whole_file(file) as stream:
        stream.writelines(["new", 7])
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("out", "old")]
