"""What the factors of large products are rounded to."""

from __future__ import annotations

import pytest
import torch

from vrp.policy import AttentionPolicy, PointerPolicy
from vrp.policy.encoders import LinearEncoder
from vrp.policy.precision import product_dtype
from vrp.problem import UniformGenerator

CPU = torch.device("cpu")
QUESTIONS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


@pytest.mark.parametrize("answers", [(False, False), (True, False), (False, True)])
def test_auto_rounds_where_the_processor_multiplies_bfloat16(answers, monkeypatch):
    """By either of its two ways."""
    for question, answer in zip(QUESTIONS, answers, strict=True):
        monkeypatch.setattr(torch.cpu, question, lambda answer=answer: answer)
    expected = torch.bfloat16 if any(answers) else torch.float32
    assert product_dtype("auto", CPU) == expected


@pytest.mark.parametrize("missing", [QUESTIONS, QUESTIONS[:1], QUESTIONS[1:]])
def test_auto_is_float32_where_torch_does_not_say(missing, monkeypatch):
    """The questions are private functions of torch, so another version may be without."""
    for question in QUESTIONS:
        monkeypatch.setattr(torch.cpu, question, lambda: False)
    for question in missing:
        monkeypatch.delattr(torch.cpu, question)
    assert product_dtype("auto", CPU) == torch.float32
    policy = AttentionPolicy(LinearEncoder(8), 8, num_layers=1, num_heads=2, precision="auto")
    assert policy.products(CPU) == torch.float32


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_asked_for_is_taken(precision, monkeypatch):
    """Whatever the processor can do."""
    for question in QUESTIONS:
        monkeypatch.delattr(torch.cpu, question)
    assert product_dtype(precision, CPU) == getattr(torch, precision)


@pytest.mark.parametrize("kind", [AttentionPolicy, PointerPolicy])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_parameters_of_another_type_are_refused(kind, dtype):
    """In words, before anything is multiplied."""
    policy = kind(LinearEncoder(8), 8)
    policy.initialise(0)
    instances = UniformGenerator(4, 12)(2, torch.Generator().manual_seed(0))
    with pytest.raises(TypeError, match=f"parameters are {dtype}; they must be torch.float32"):
        policy.to(dtype).encode(instances)
