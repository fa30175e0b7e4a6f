"""A result is there as a whole or not at all, and what was there before survives every failure."""

import errno
import os
import sys
from pathlib import Path

import pytest

from edgetune import output
from edgetune.errors import OutputExistsError
from edgetune.output import new_folder, write_atomic

MARKER = ("adapter.json", "bundle.json")


def tree(folder: Path) -> dict[str, str]:
    """Every path below the folder, hidden ones too, with what it holds."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else "folder" for path in folder.rglob("*")
    }


def fill(folder: Path, content: str = "new") -> None:
    (folder / "sub").mkdir()
    (folder / "adapter.json").write_text(content)
    (folder / "sub" / "weights").write_text(content)


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    fill(path, "old")
    return path


def test_a_result_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "runs" / "deep" / "out"
    with new_folder(path, force=False, marker=MARKER) as folder:
        assert folder.parent == path.parent and folder.name.startswith(".out.partial-")
        fill(folder)
        assert not path.exists()
    assert tree(path.parent) == {
        "out": "folder",
        "out/sub": "folder",
        "out/adapter.json": "new",
        "out/sub/weights": "new",
    }


def test_a_result_has_the_permissions_of_an_ordinary_folder(tmp_path):
    (tmp_path / "ordinary").mkdir()
    with new_folder(tmp_path / "out", force=False, marker=MARKER):
        pass
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out", force=False, marker=MARKER) as folder:
        fill(folder)
    assert tree(tmp_path)["out/adapter.json"] == "new"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    "failure", [ValueError(), KeyboardInterrupt(), SystemExit(), OSError(errno.ENOSPC, "No space left")]
)
@pytest.mark.parametrize("force", [True, False])
def test_a_failure_leaves_what_was_there(tmp_path, old, failure, force):
    path = old if force else tmp_path / "other"
    before = tree(tmp_path)
    with pytest.raises(type(failure)), new_folder(path, force=force, marker=MARKER) as folder:
        fill(folder)
        raise failure
    assert tree(tmp_path) == before


@pytest.mark.usefixtures("moving")
@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_disk_that_fails_at_the_end_leaves_what_was_there(tmp_path, old, monkeypatch, step):
    before, real, calls = tree(tmp_path), getattr(os, step), []

    def fail_at_the_second_call(*args):
        calls.append(args)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    monkeypatch.setattr(os, step, fail_at_the_second_call)
    with pytest.raises(OSError, match="No space"), new_folder(old, force=True, marker=MARKER) as folder:
        fill(folder)
    assert tree(tmp_path) == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names change places on Linux alone")
def test_an_old_result_and_its_successor_change_places_at_one_moment(tmp_path, old, monkeypatch):
    monkeypatch.setattr(os, "rename", None)  # of two renames the first would leave nothing at the place
    with new_folder(old, force=True, marker=MARKER) as folder:
        fill(folder)
    assert tree(tmp_path)["out/adapter.json"] == "new"
    assert os.listdir(tmp_path) == ["out"]


@pytest.fixture
def moving(monkeypatch):
    """A system on which names cannot change places."""
    monkeypatch.setattr(output, "exchanged", lambda one, other: False)


@pytest.mark.usefixtures("moving")
def test_an_interrupt_between_the_two_renames_brings_the_old_result_back(tmp_path, old, monkeypatch):
    before, real = tree(tmp_path), os.rename

    def interrupt_after_moving_aside(source, destination):
        real(source, destination)
        if ".old-" in str(destination):
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupt_after_moving_aside)
    with pytest.raises(KeyboardInterrupt), new_folder(old, force=True, marker=MARKER) as folder:
        fill(folder)
    assert tree(tmp_path) == before


def test_a_taken_place_is_refused_before_any_work(tmp_path, old):
    before = tree(tmp_path)
    with pytest.raises(OutputExistsError) as caught, new_folder(old, force=False, marker=MARKER):
        pytest.fail("the block must not run")
    assert str(old) in str(caught.value) and "--force" in str(caught.value)
    assert tree(tmp_path) == before


def test_force_replaces_an_old_result_as_a_whole(tmp_path, old):
    (old / "left over").write_text("old")
    with new_folder(old, force=True, marker=MARKER) as folder:
        (folder / "bundle.json").write_text("new")
        assert (old / "adapter.json").read_text() == "old"
    assert tree(tmp_path) == {"out": "folder", "out/bundle.json": "new"}


def test_force_never_replaces_a_folder_that_is_not_ours(tmp_path, old):
    (old / "adapter.json").unlink()
    before = tree(tmp_path)
    with pytest.raises(OutputExistsError) as caught, new_folder(old, force=True, marker=MARKER):
        pytest.fail("the block must not run")
    assert "even with --force" in str(caught.value) and "adapter.json or bundle.json" in str(caught.value)
    assert tree(tmp_path) == before


def test_force_replaces_a_file(tmp_path):
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(OutputExistsError, match=r"is a file.*--force"), new_folder(path, force=False, marker=MARKER):
        pass
    with new_folder(path, force=True, marker=MARKER) as folder:
        fill(folder)
    assert os.listdir(tmp_path) == ["out"] and path.is_dir()


@pytest.mark.parametrize("force", [True, False])
def test_the_current_folder_and_those_around_it_are_refused(tmp_path, monkeypatch, force):
    (tmp_path / "inner").mkdir()
    (tmp_path / "adapter.json").touch()
    monkeypatch.chdir(tmp_path / "inner")
    for path in (".", "..", tmp_path):
        with pytest.raises(OutputExistsError, match="current folder"), new_folder(path, force=force, marker=MARKER):
            pass
    assert sorted(os.listdir(tmp_path)) == ["adapter.json", "inner"]


def test_a_mount_point_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "out")
    with (
        pytest.raises(OutputExistsError, match=r"mount point.*new folder in it"),
        new_folder(tmp_path / "out", force=True, marker=MARKER),
    ):
        pass


def test_a_device_is_refused(tmp_path):
    os.mkfifo(tmp_path / "out")
    with pytest.raises(OutputExistsError, match="neither"), new_folder(tmp_path / "out", force=True, marker=MARKER):
        pass


def test_a_file_among_the_parents_is_named(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "out", tmp_path / "file" / "deep" / "out"):
        with pytest.raises(OutputExistsError, match="a file is in its place"):
            new_folder(path, force=True, marker=MARKER).__enter__()
        with pytest.raises(OutputExistsError, match="a file is in its place"):
            write_atomic(path, "x")


def test_a_link_stays_a_link(tmp_path, old):
    link = tmp_path / "link"
    link.symlink_to(old)
    with new_folder(link, force=True, marker=MARKER) as folder:
        fill(folder)
    assert link.is_symlink() and (old / "adapter.json").read_text() == "new"


def test_a_place_taken_meanwhile_keeps_both_results(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(OutputExistsError) as caught, new_folder(path, force=False, marker=MARKER) as folder:
        fill(folder)
        path.mkdir()
        (path / "theirs").write_text("theirs")
    assert (path / "theirs").read_text() == "theirs"
    assert (folder / "adapter.json").read_text() == "new"
    assert f"kept in {folder}" in str(caught.value)


def test_every_file_is_synced_before_the_rename(tmp_path, monkeypatch):
    events, real_fsync, real_rename = [], os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda fd: (events.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name), real_fsync(fd))
    )
    monkeypatch.setattr(os, "rename", lambda a, b: (events.append("rename"), real_rename(a, b)))
    with new_folder(tmp_path / "out", force=False, marker=MARKER) as folder:
        fill(folder)
    at = events.index("rename")
    assert {"adapter.json", "weights", "sub", folder.name} == set(events[:at])
    assert events[at + 1 :] == [tmp_path.name]


@pytest.mark.parametrize("data, held", [(b"\x00\xff", b"\x00\xff"), ("ä\r\n\n", "ä\r\n\n".encode())])
def test_write_atomic_writes_what_it_is_given(tmp_path, data, held):
    path = tmp_path / "deep" / "file"
    for _ in range(2):
        write_atomic(path, data)
        assert path.read_bytes() == held
    assert os.listdir(path.parent) == ["file"]


def test_write_atomic_keeps_the_old_file_on_failure(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert tree(tmp_path) == {"file": "old"}


def test_write_atomic_keeps_links_and_permissions(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.touch(mode=0o600)
    link.symlink_to(path)
    write_atomic(link, "new")
    assert link.is_symlink() and path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_write_atomic_refuses_a_folder(tmp_path):
    with pytest.raises(OutputExistsError, match="is a folder"):
        write_atomic(tmp_path, "x")
