"""GGUF models from hubs: names, and downloads from a real loopback server."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import REPO, Hub, serving_hub
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.engine import hub as hub_module
from ecomfs.engine.factory import open_engine
from ecomfs.engine.gguf import split_parts
from ecomfs.engine.hub import HubModel, parse_hub_name
from ecomfs.engine.models import available_models, get_model, gguf_file
from ecomfs.engine.packaged import packaged_model
from ecomfs.errors import ConfigError, EngineUnavailableError, ModelError, ServerStatusError
from ecomfs.types import Question, Reading
from prompts import review

Q4 = b"GGUF" + bytes(range(256)) * 40
Q8 = b"GGUF" + bytes(range(256)) * 80


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with two quantisations, and a cache folder of this test."""
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(hub_module, "_PAUSE", 0.001)
    monkeypatch.setattr(hub_module, "_ATTEMPTS", 2)
    files = {"small-Q4_K_M.gguf": Q4, "small-Q8_0.gguf": Q8, "README.md": b"#"}
    with serving_hub(**files) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("MODELSCOPE_DOMAIN", server.url)
        yield server


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


_WORD = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,8}", fullmatch=True)


@given(st.sampled_from(["", "modelscope"]), _WORD, _WORD, st.one_of(st.just(""), _WORD))
def test_a_hub_name_reads_back(hub_name: str, org: str, repo: str, quant: str) -> None:
    model = HubModel(hub_name, f"{org}/{repo}", quant)
    assert parse_hub_name(model.repository.removeprefix("gguf:") + ":" * bool(quant) + quant) == (
        model
    )


@pytest.mark.parametrize("name", ["demo", "dir/own.gguf", "a/b/c", "./name", "../x", "C:/m", "/m"])
def test_names_and_paths_are_no_hub_names(name: str) -> None:
    assert parse_hub_name(name) is None


# -- downloads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "modelscope:"])
def test_a_model_is_downloaded_once_and_used_offline(hub: Hub, prefix: str) -> None:
    path = gguf_file(f"{prefix}{REPO}")
    assert path.read_bytes() == Q4
    assert gguf_file(f"{prefix}{REPO}:q8_0").read_bytes() == Q8
    before = len(hub.requests)
    hub.status = 500
    assert gguf_file(f"{prefix}{REPO}") == path
    assert gguf_file(f"{prefix}{REPO}:Q4_K_M") == path
    assert len(hub.requests) == before
    listed = {m.spec: m for m in available_models()}[f"gguf:{prefix}{REPO}:Q4_K_M"]
    assert (listed.path, listed.size, listed.ready) == (path, len(Q4), True)
    assert listed.licence == ("" if prefix else "apache-2.0")


@pytest.mark.parametrize("prefix", ["", "modelscope:"])
def test_a_cut_connection_goes_on_where_it_stopped(hub: Hub, prefix: str) -> None:
    hub.cut = [5000, 0, 3000, 100]  # more cuts than attempts: what counts is that bytes come
    assert gguf_file(f"{prefix}{REPO}").read_bytes() == Q4
    assert hub.downloads() == ["", "bytes=5000-", "bytes=5000-", "bytes=8000-", "bytes=8100-"]


@pytest.mark.parametrize("prefix", ["", "modelscope:"])
def test_an_interrupted_download_goes_on_in_the_next_call(hub: Hub, prefix: str) -> None:
    hub.cut = [4000, *[0] * 8]
    with pytest.raises(EngineUnavailableError) as caught:
        gguf_file(f"{prefix}{REPO}")
    assert caught.value.retryable
    assert "try again" in caught.value.hint
    hub.cut, hub.requests = [], []
    assert gguf_file(f"{prefix}{REPO}").read_bytes() == Q4
    assert hub.downloads() == ["bytes=4000-"]


def test_a_server_without_ranges_sends_the_whole_file_again(hub: Hub) -> None:
    hub.ranges, hub.cut = False, [4000]
    assert gguf_file(REPO).read_bytes() == Q4


@pytest.mark.parametrize("prefix", ["", "modelscope:"])
@pytest.mark.parametrize("wrong", [b"GGUX" + Q4[4:], Q4 + b"more", Q4[:-1]])
def test_other_bytes_than_the_hub_lists_are_never_used(
    hub: Hub, tmp_path: Path, prefix: str, wrong: bytes
) -> None:
    hub.sent["small-Q4_K_M.gguf"] = wrong
    with pytest.raises((ModelError, EngineUnavailableError)):
        gguf_file(f"{prefix}{REPO}")
    assert not [name for name in left_in(tmp_path / "cache") if name.endswith(".gguf")]
    hub.sent.clear()
    assert gguf_file(f"{prefix}{REPO}").read_bytes() == Q4


def test_a_wrong_checksum_is_named(hub: Hub, tmp_path: Path) -> None:
    hub.sent["small-Q4_K_M.gguf"] = b"GGUX" + Q4[4:]
    with pytest.raises(ModelError, match=r"small-Q4_K_M\.gguf does not have the SHA-256"):
        gguf_file(REPO)
    assert not [name for name in left_in(tmp_path / "cache") if name.endswith(".part")]


def test_a_file_damaged_on_the_disk_is_downloaded_again(hub: Hub) -> None:
    path = gguf_file(REPO)
    path.write_bytes(b"GGUX" + Q4[4:])
    assert gguf_file(REPO).read_bytes() == Q4


def test_all_parts_of_a_split_model_are_downloaded(hub: Hub) -> None:
    names = [f"Q8_0/big-Q8_0-0000{n}-of-00002.gguf" for n in (1, 2)]
    hub.files = dict(zip(names, (Q4, Q8), strict=True))
    first = gguf_file(REPO)
    assert [p.read_bytes() for p in split_parts(first)] == [Q4, Q8]
    (listed,) = [m for m in available_models() if m.spec == f"gguf:{REPO}:Q8_0"]
    assert (listed.path, listed.size) == (first, len(Q4) + len(Q8))
    first.with_name(Path(names[1]).name).unlink()
    assert gguf_file(REPO) == first  # the part that is gone comes again
    assert len(split_parts(first)) == 2


def test_get_brings_the_newest_version_and_opening_keeps_the_one_here(hub: Hub) -> None:
    path = get_model(f"gguf:{REPO}")
    hub.files["small-Q4_K_M.gguf"] = Q8
    assert gguf_file(REPO).read_bytes() == Q4
    assert get_model(REPO) == path
    assert path.read_bytes() == Q8


def test_a_redirect_to_another_host_does_not_take_the_token(hub: Hub) -> None:
    with serving_hub(**hub.files) as cdn:
        hub.cdn = cdn.url.replace("127.0.0.1", "localhost")
        assert gguf_file(REPO).read_bytes() == Q4
        assert all("hf_secret" not in str(headers) for _, headers in cdn.requests)
    assert all(h.get("authorization") or h.get("Authorization") for _, h in hub.requests)


def test_modelscope_never_gets_the_token_of_hugging_face(hub: Hub) -> None:
    gguf_file(f"modelscope:{REPO}")
    assert "hf_secret" not in str(hub.requests)


def test_files_downloaded_by_hugging_face_tools_are_used(hub: Hub, tmp_path: Path) -> None:
    from hashlib import sha256

    blobs = tmp_path / "hub" / f"models--{REPO.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / sha256(Q4).hexdigest()).write_bytes(Q4)
    assert gguf_file(REPO).read_bytes() == Q4
    assert hub.downloads() == []


@pytest.mark.parametrize("prefix", ["", "modelscope:"])
def test_a_file_outside_the_repository_is_refused(hub: Hub, tmp_path: Path, prefix: str) -> None:
    hub.files = {"../../../../out-Q4_K_M.gguf": Q4}
    with pytest.raises(ModelError, match="outside"):
        gguf_file(f"{prefix}{REPO}")
    assert not list(tmp_path.glob("**/out-*"))


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "modelscope:"])
def test_no_such_repository(hub: Hub, prefix: str) -> None:
    with pytest.raises(ModelError, match="has no repository org/absent") as caught:
        gguf_file(f"{prefix}org/absent:Q8_0")
    assert "check the name" in caught.value.hint


def test_a_gated_repository(hub: Hub) -> None:
    hub.status, hub.error_code = 403, "GatedRepo"
    with pytest.raises(ModelError, match="refuses access") as caught:
        gguf_file(REPO)
    assert "HF_TOKEN" in caught.value.hint


@pytest.mark.parametrize("prefix", ["", "modelscope:"])
def test_a_hub_that_fails(hub: Hub, prefix: str) -> None:
    hub.status = 502
    with pytest.raises(ServerStatusError, match="HTTP 502") as caught:
        gguf_file(f"{prefix}{REPO}")
    assert caught.value.retryable


@pytest.mark.parametrize("prefix", ["", "modelscope:"])
def test_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", nowhere)
    monkeypatch.setenv("MODELSCOPE_DOMAIN", nowhere)
    with pytest.raises(EngineUnavailableError, match="not on this machine") as caught:
        gguf_file(f"{prefix}{REPO}")
    assert "modelscope" in caught.value.hint


@pytest.mark.parametrize("prefix", ["", "modelscope:"])
@pytest.mark.parametrize("page", [b"<html>log in</html>", b"[1]", b'{"Code": 200}', b"\xff"])
def test_a_page_that_is_no_listing(hub: Hub, prefix: str, page: bytes) -> None:
    hub.page = page
    with pytest.raises(ModelError, match="did not return a list") as caught:
        gguf_file(f"{prefix}{REPO}")
    assert "login page" in caught.value.hint


def test_offline_by_wish(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EngineUnavailableError, match="HF_HUB_OFFLINE is set"):
        gguf_file(REPO)
    assert hub.requests == []


@pytest.mark.parametrize("prefix", ["", "modelscope:"])
def test_a_repository_without_gguf_or_with_several(hub: Hub, prefix: str) -> None:
    with pytest.raises(ModelError, match="no GGUF file is Q5_K_M") as caught:
        gguf_file(f"{prefix}{REPO}:Q5_K_M")
    assert "Q4_K_M, Q8_0" in caught.value.hint
    hub.files["other-Q4_K_M.gguf"] = Q4
    with pytest.raises(ModelError, match="2 GGUF files are Q4_K_M") as caught:
        gguf_file(f"{prefix}{REPO}")
    named = caught.value.hint.rpartition(", ")[2].removeprefix("gguf:")
    assert gguf_file(named).name == "other-Q4_K_M.gguf"  # what the hint says works
    hub.files = {"config.json": b"{}", "model.safetensors": b"x"}
    with pytest.raises(ModelError, match="no GGUF file"):
        get_model(f"{prefix}{REPO}")


def test_a_full_disk_is_an_error_before_the_download(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5}))
    with pytest.raises(ModelError, match="MB free") as caught:
        gguf_file(REPO)
    assert "ECOMFS_CACHE" in caught.value.hint
    assert hub.downloads() == []


def test_without_huggingface_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(EngineUnavailableError, match="huggingface_hub") as caught:
        gguf_file(REPO)
    assert caught.value.hint == "pip install 'ecomfs[hub]'"
    assert gguf_file(f"modelscope:{REPO}").read_bytes() == Q4


@pytest.mark.parametrize("name", ["gpt", "gguf:own.gguf", "transformers:Qwen/Qwen3-8B"])
def test_names_that_cannot_be_downloaded_are_refused(hub: Hub, name: str) -> None:
    with pytest.raises(ConfigError, match="names no model"):
        get_model(name)


@pytest.mark.model
def test_an_engine_opens_by_its_name_on_the_hub(hub: Hub) -> None:
    hub.files = {"SmolLM2.Q4_1.gguf": packaged_model("smollm2").read_bytes()}
    spec = f"gguf:{REPO}:q4_1?context=256&threads=2"
    engine = open_engine(spec)
    assert engine.spec == spec
    assert engine.tokenizer is not None
    code = engine.tokenizer.encode(" positive")[0]
    (reading,) = asyncio.run(engine.read([review(engine.tokenizer, "lovely")], [Question((code,))]))
    assert isinstance(reading, Reading)
    asyncio.run(engine.aclose())
