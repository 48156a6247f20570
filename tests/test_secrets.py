"""Addresses of cameras are named without their logins, wherever they are named."""

from __future__ import annotations

import json
import logging
import re
import stat
import string
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transpose_sdk.cli.main import main
from transpose_sdk.errors import SourceError, TransposeError
from transpose_sdk.media.sinks import JsonSink
from transpose_sdk.media.sources import open_source
from transpose_sdk.skeletons import COCO17
from transpose_sdk.without_secrets import has_secrets, without_secrets


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("rtsp://admin:S3cret@10.0.0.5:554/h264", "rtsp://***@10.0.0.5:554/h264"),
        ("rtsp://S3cret@10.0.0.5/h264", "rtsp://***@10.0.0.5/h264"),
        ("rtsp://admin:S3c@ret@10.0.0.5/h264", "rtsp://***@10.0.0.5/h264"),
        ("rtsp://admin:S3c/ret@10.0.0.5/h264", "rtsp://***@10.0.0.5/h264"),
        ("rtsp://admin:S3c?ret@10.0.0.5/h264", "rtsp://***@10.0.0.5/h264"),
        ("rtsp://admin:S3c ret@10.0.0.5/h264", "rtsp://***@10.0.0.5/h264"),
        ("rtsp://admin:12/S3cret@10.0.0.5/h264", "rtsp://***@10.0.0.5/h264"),
        ("RTSPS://Admin:S3cret@[fe80::1]:554/x", "RTSPS://***@[fe80::1]:554/x"),
        ("admin:S3cret@10.0.0.5/h264", "***@10.0.0.5/h264"),
        ("http://h/v?token=S3cret", "http://h/v?token=***"),
        ("http://h/v?channel=1&password=S3cret&subtype=0", "http://h/v?channel=1&password=***&subtype=0"),
        ("http://h/v?x=1;PWD=S3cret", "http://h/v?x=1;PWD=***"),
        ("http://h/v?pass%77ord=S3cret", "http://h/v?pass%77ord=***"),
        ("http://h/v?loginuse=S3cret&loginpas=S3cret", "http://h/v?loginuse=***&loginpas=***"),
        ("http://h/v?api_key=S3cret#access_token=S3cret", "http://h/v?api_key=***#access_token=***"),
        ("http://h/v?authbasic=S3cret", "http://h/v?authbasic=***"),
        ("http://h/v?X-Amz-Signature=S3cret&n=1", "http://h/v?X-Amz-Signature=***&n=1"),
        ("srt://h:9000?passphrase=S3cret&mode=caller", "srt://h:9000?passphrase=***&mode=caller"),
        ("rtmp://h/live/x?a=0123456789abcdefS3cret", "rtmp://h/live/x?a=***"),
        (
            "rtsp://h:554/user=S3cret_password=S3cret_channel=1_stream=0.sdp?real_stream",
            "rtsp://h:554/user=***_password=***_channel=1_stream=0.sdp?real_stream",
        ),
        ("rtsp://h/user=S3cret&password=S3cret&channel=1", "rtsp://h/user=***&password=***&channel=1"),
        ("rtsp://h/x;password=S3cret/v", "rtsp://h/x;password=***/v"),
        ("http://h/token/S3cret/index.m3u8", "http://h/token/***/index.m3u8"),
        ("two: rtsp://a:S3cret@h/1, rtsp://b:S3cret@h/2", "two: rtsp://***@h/1, rtsp://***@h/2"),
    ],
)
def test_secrets_are_hidden(given: str, named: str) -> None:
    assert without_secrets(given) == named
    assert without_secrets(named) == named
    sentence = without_secrets(f"cannot read {given}: check it")
    assert "S3c" not in sentence
    assert "cannot read " in sentence
    assert "S3c" not in str(TransposeError(f"cannot read {given} ({given})"))


@pytest.mark.parametrize(
    "innocent",
    [
        "me@home.mp4", "/home/me/@clips/a@b.mp4", r"C:\me@home\a.mp4", "clip user=1 password=2.mp4", "rtsp://h:554/live",
        "http://h:8080/live/@me/x.m3u8", "http://h/clip.mp4?start=5&fps=30", "rtsp://[::1]:554/x",
        "file:///home/me@home/a.mp4", "0", "frames/*.png", "http://h/cam/realmonitor?channel=1&subtype=0",
    ],
)  # fmt: skip
def test_the_rest_stays(innocent: str) -> None:
    assert without_secrets(innocent) == innocent
    assert not has_secrets(innocent)


WORD = st.text(string.ascii_letters + string.digits + "-.!$*()[]{}~^", min_size=1, max_size=12)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(["rtsp", "http", "HTTPS", "rtmp"]), WORD, WORD, WORD, st.booleans())
@example("rtsp", "a", "5", "0", True)
def test_no_login_is_told(scheme: str, user: str, password: str, query: str, spaced: bool) -> None:
    password = f"Zq{password}{' ' if spaced else ''}qZ"
    for address in (
        f"{scheme}://{user}:{password}@10.1.2.3:80/x?q={query}",
        f"{scheme}://cam.local/x?n=1&password={password.replace(' ', '')}&q=1",
        f"{scheme}://cam.local/user={user.replace('/', '')}_password={password.replace(' ', '')}_channel=1",
    ):
        told = without_secrets(address)
        assert password.strip() not in told
        assert "Zq" not in told
        assert re.match(rf"{scheme}://", told)


def test_errors_and_commands_tell_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    for address in ("rtsp://admin:S3cret@127.0.0.1:1/x", "http://127.0.0.1:1/x.mp4?token=S3cret", "a:S3cret@b/c.mp4"):
        with pytest.raises(SourceError) as caught:
            open_source(address)
        assert "S3cret" not in str(caught.value)
        for command in (["run", address], ["bench", address]):
            assert main(command) == 2
            captured = capsys.readouterr()
            assert "S3cret" not in captured.out + captured.err


def test_documents_tell_no_secret(tmp_path: Path) -> None:
    address = "rtsp://admin:S3cret@10.0.0.5/x"
    for source in (address, {"name": address, "kind": "camera"}, {"kind": "camera"}):
        with JsonSink(tmp_path / "o.json", source=source, model="m", skeleton=COCO17):
            pass
        document = (tmp_path / "o.json").read_text()
        assert "S3cret" not in document
        assert json.loads(document)["source"].get("name") in (None, "rtsp://***@10.0.0.5/x")


def test_the_viewer_keeps_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("PyQt6.QtCore", reason="the viewer needs PyQt6 and its libraries", exc_type=ImportError)
    from PyQt6.QtCore import QSettings

    from transpose_sdk.apps.viewer.memory import load, save

    caplog.set_level(logging.DEBUG)
    file = tmp_path / "viewer.ini"
    store = QSettings(str(file), QSettings.Format.IniFormat)
    store.setValue("viewer", json.dumps({"recent": ["rtsp://a:S3cret@h/x", "me@home.mp4", 5], "folder": str(tmp_path)}))
    memory = load(store)
    memory.opened("rtsp://admin:S3cret@10.0.0.5/x")
    memory.opened("http://h/v?token=S3cret")
    memory.opened("/home/me@home/a.mp4")
    assert memory.recent == ["/home/me@home/a.mp4", "me@home.mp4"]
    save(store, memory)
    assert "S3cret" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = memory.new_file(".mp4")
    first.write_bytes(b"")
    assert memory.new_file(".mp4").stem.startswith("transpose_")
    assert memory.new_file(".mp4") != first
    assert memory.new_file(".json").stem != first.stem  # a recording's document bears the name of its video
