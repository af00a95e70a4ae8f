"""What a person reads of a model's layers as they are deployed: what is joined, and which share of a pass that is."""

from __future__ import annotations

from collections.abc import Iterator

from convbench.extraction.deployed.pass_share import sentence_of, share_of
from convbench.extraction.extract import Extracted, joined_text
from convbench.extraction.file_kinds import is_onnx
from convbench.runner.choose.answer import Request


def deployed_sentences(request: Request, extracted: Extracted) -> Iterator[str]:
    """Sentences on the layers of `extracted`; the share of a pass is measured where the request measures."""
    yield (
        f"Convolutions are as deployed, joined with {joined_text(extracted.joined or {})}; "
        "--bare chooses by the convolutions alone."
    )
    if not request.measures or not any((extracted.joined or {}).values()):
        return
    if is_onnx(request.model):
        says = "runs the file and says which share of a pass that is"
        yield f"convbench extract {request.model} --deployed --share {says}."
        return
    yield sentence_of(share_of(request.model, extracted.input_shape, request.threads))
