"""What `test_blocked_adam_kernels` runs without a GPU: the kernels as compiled for one.

Triton brings the compiler and the assembler with it, so a kernel that doesn't compile, or not to
the arithmetic that it promises, is found on any machine.
"""

import re
from typing import Any

import pytest
import torch
import triton
from test_blocked_adam import DECAY
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, CompiledKernel

from blocked_adam import group_look_ups, kernels, reference

POINTERS = {torch.float32: "*fp32", torch.int32: "*i32", torch.int64: "*i64"}
GPUS = {"T4": 75, "A100": 80, "H100": 90}  # by compute capability


class Compiler:
    """Stands in a kernel's place: compiles what is launched, and runs nothing."""

    def __init__(self, kernel: triton.JITFunction, capability: int) -> None:
        self.kernel, self.capability = kernel, capability
        self.compiled: list[CompiledKernel] = []

    def __getitem__(self, grid: tuple[int, ...]) -> "Compiler":
        return self

    def __call__(
        self, *arguments: Any, enable_fp_fusion: bool, num_warps: int = 4, **constants: int
    ) -> None:
        given = dict(zip(self.kernel.arg_names, arguments, strict=False))
        types = {name: self.type_of(value) for name, value in given.items()}
        aligned = {
            (place,): [["tt.divisibility", 16]]
            for place, value in enumerate(arguments)
            if isinstance(value, torch.Tensor) and value.data_ptr() % 16 == 0
        }
        source = ASTSource(
            self.kernel, types | dict.fromkeys(constants, "constexpr"), constants, aligned
        )
        target = GPUTarget("cuda", self.capability, 32)
        options = {"enable_fp_fusion": enable_fp_fusion, "num_warps": num_warps}
        self.compiled.append(triton.compile(source, target, options))

    @staticmethod
    def type_of(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            return POINTERS[value.dtype]
        return "fp32" if isinstance(value, float) else "i32"


@pytest.mark.parametrize(
    ("gpu", "width"),
    [*((gpu, width) for gpu in GPUS for width in (6, 150)), ("T4", 10), ("T4", 100)],
)
def test_the_kernels_compile_to_the_references_arithmetic(gpu, width, monkeypatch, capfd):
    monkeypatch.setenv("TRITON_ALWAYS_COMPILE", "1")
    monkeypatch.setenv("TRITON_DUMP_PTXAS_LOG", "1")
    compilers = {
        name: Compiler(getattr(kernels, name), GPUS[gpu]) for name in ("_replay", "_apply")
    }
    for name, compiler in compilers.items():
        monkeypatch.setattr(kernels, name, compiler)
    w, m, v = torch.zeros(3, 70, width)
    table = reference.Table(w, m, v, torch.zeros(71, dtype=torch.int32), torch.zeros(4, 2))
    look_ups = group_look_ups(torch.tensor([3, 50, 3, 69]), 70)
    kernels.catch_up(table, look_ups, 2, DECAY)
    kernels.apply(table, look_ups, torch.zeros(4, width), 2, DECAY)
    kernels.flush(table, 3, DECAY)
    found = [one for compiler in compilers.values() for one in compiler.compiled]
    assert len(found) == 3
    for one in found:
        code = one.asm["ptx"]
        assert not re.search(r"\bfma\.", code)  # rounded once, it would have other bits
        assert "div.full" not in code and "approx" not in code
        assert "div.rn.f32" in code and "sqrt.rn.f32" in code
        assert one.asm["cubin"]
    spilled = re.findall(
        r"(\d+) bytes spill", capfd.readouterr().out
    )  # registers, by the assembler
    assert len(spilled) == 2 * len(found) and set(spilled) == {"0"}
