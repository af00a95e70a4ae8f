"""`convbench.choose_dtypes`: the choices in several dtypes, and what they bring, as `choose --dtype T,T` has them."""

from __future__ import annotations

from typing import Any

import pytest

import convbench
from convbench.api.choose import ChoiceResult
from convbench.api.choose_dtypes import DtypeChoices, chosen_in
from convbench.errors import ConvbenchError, NothingMeasuredError


def chosen(dtypes: Any, **options: Any) -> DtypeChoices:
    quick = {"backend": ["numpy-gemm", "scipy-direct"], "quick": True, "budget": 0.02, "results": False}
    return convbench.choose_dtypes("n1c2h5w5_o2k3", dtypes, progress=False, **(quick | options))


def test_each_dtype_has_a_choice_and_a_backend_in_both_is_compared() -> None:
    both = chosen(["float32", "int8"])
    assert both.ok and list(both.choices) == ["float32", "int8"] and not both.refusals
    assert both["int8"].records[0]["case_id"] == "n1c2h5w5_o2k3_u8zs8u8z"
    assert both.frame.loc["numpy-gemm"].notna().all()
    assert list(both.frame.columns) == ["float32", "int8"]
    assert [record["type"] for record in both.records].count("layer") == 2
    assert both.records[-1]["type"] == "dtypes"
    text = str(both)
    assert "float32:" in text and "Dtypes side by side" in text


def test_a_dtype_without_a_choice_leaves_the_others() -> None:
    one = chosen("float32,int8", backend="scipy-direct")
    assert one["float32"].ok and not one["int8"].ok
    assert one.exit_code == 3, "as the command's"
    assert "Dtypes side by side" not in str(one)
    assert all(record["type"] != "dtypes" for record in one.records)


def test_an_error_in_one_dtype_is_kept_and_an_interrupt_ends_all() -> None:
    float32 = chosen("float32")["float32"]

    def choose_in(dtype: str) -> ChoiceResult:
        if dtype == "int8":
            raise NothingMeasuredError("there is nothing in int8")
        return float32 if dtype == "float32" else _Interrupted(float32.answer, None)

    choices = chosen_in(["int8", "float32", "float16", "float64"], choose_in)
    assert list(choices.choices) == ["float32", "float16"]
    assert choices.refusals == {"int8": "there is nothing in int8"}
    assert "there is nothing in int8" in str(choices)


class _Interrupted(ChoiceResult):
    interrupted = True  # type: ignore[assignment]


def test_what_goes_with_one_dtype_and_unknown_dtypes_are_refused() -> None:
    with pytest.raises(ConvbenchError, match=r"plan is for one dtype; give it to convbench\.choose"):
        chosen("float32,int8", plan="plan.json")
    with pytest.raises(ConvbenchError, match="int9"):
        chosen(["float32", "int9"])
