"""The spans of a run, as an OpenTelemetry exporter receives them."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import classifier

from ecomfs.batch import score_table

trace = pytest.importorskip("opentelemetry.trace")
pytest.importorskip("opentelemetry.sdk")


def test_every_stage_is_a_child_of_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    seen = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(seen))
    monkeypatch.setattr("ecomfs.batch.runner._tracer", lambda: provider.get_tracer("ecomfs"))
    source = tmp_path / "in.csv"
    source.write_text("id,text\n" + "".join(f"{i},row {i}\n" for i in range(40)))
    score_table(source, tmp_path / "out.csv", classifier(k=0).pipeline_, chunk_rows=16)
    spans = seen.get_finished_spans()
    names = [span.name for span in spans]
    assert {"ecomfs.prepare", "ecomfs.read", "ecomfs.commit", "ecomfs.merge"} < set(names)
    [whole] = [span for span in spans if span.name == "ecomfs.score"]
    assert all(span.parent.span_id == whole.context.span_id for span in spans if span != whole)
    rows = [span.attributes["ecomfs.rows"] for span in spans if span.name == "ecomfs.read"]
    assert sum(rows) == 40
    provider.shutdown()


def test_without_a_tracer_nothing_is_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecomfs.batch.runner._tracer", lambda: None)
    source = tmp_path / "in.csv"
    source.write_text("id,text\n1,good\n")
    result = score_table(source, tmp_path / "out.csv", classifier(k=0).pipeline_)
    assert result.tally.status["ok"] == 1
