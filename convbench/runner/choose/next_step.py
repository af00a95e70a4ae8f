"""What to do with an answer: the code that runs an ONNX model with what was chosen, or how a torch model follows it."""

from __future__ import annotations

from collections.abc import Iterator

from convbench.analysis.backend_times import is_applicable
from convbench.extraction.file_kinds import is_onnx
from convbench.installation import pip_line
from convbench.registry import discover
from convbench.runner.choose.answer import Answer


def next_step(answer: Answer) -> Iterator[str]:
    """The lines that a person reads at the end; none where there is nothing to do."""
    request, model = answer.request, answer.model
    if not model.choices or request.model is None:
        return
    if is_onnx(request.model):
        yield from _for_onnx(answer)
    elif request.purpose == "apply":
        plan = str(request.plan or "plan.json")
        before = "" if request.plan else f"the same with --plan {plan}, then "
        yield f"Next: {before}convbench.apply(model, {plan!r}, example_input)"
    else:
        known = [is_applicable(record) for c in model.choices if (record := c.ranked[0].record) is not None]
        if False in known:
            yield (
                f"convbench.apply can use the fastest on {known.count(True)} of {len(known)} layers in the model's "
                "process; --for apply chooses among what it can use, with what handing tensors over costs."
            )


def _for_onnx(answer: Answer) -> Iterator[str]:
    path, threads, single = str(answer.request.model), answer.request.threads, answer.model.single
    backends = {entry.name: entry.backend for entry in discover(answer.request.plugins)}
    whole = [total.backend for total in answer.model.totals if total.is_whole and total.backend in backends]
    codes = ((name, backends[name].onnx_code(path, threads)) for name in whole)
    runtime, code = next(((name, code) for name, code in codes if code is not None), (None, None))
    if runtime is None or code is None:
        install = pip_line("convbench[onnxruntime]")
        yield f"No backend with a time on every layer runs ONNX models. To add one: {install}"
        return
    if single is not None and runtime != single.backend:
        yield f"{single.backend} computes convolutions and runs no ONNX model; the fastest here that does is {runtime}."
    yield f"Next: run {path} by {runtime}, with the settings that were timed:"
    yield from (f"    {line}" for line in code.splitlines())
