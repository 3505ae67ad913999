"""What matrix products are taken in."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from embedding_collapse.lab.environment import multiplies_bf16

PRECISIONS = ("tf32", "bf16")  # None is float32 throughout
NAMED = ("auto", "float32", *PRECISIONS)  # by whoever gives a command; see `device.precision_of`
PRODUCTS = {torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm, torch.ops.aten.baddbmm}


@contextlib.contextmanager
def products(precision: str | None, device: torch.device) -> Iterator[None]:
    """Matrix products in that precision: "tf32" (on GPUs that have it) or "bf16"; weights, tables,
    moments and sums stay float32.

    A processor without instructions for bf16 gives the same numbers but for the order of sums, and
    takes somewhat longer than in float32: see benchmarks/README.md.
    """
    before = torch.get_float32_matmul_precision()
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    with (
        # the cache of cast weights would outlive a graph
        torch.autocast(device.type, torch.bfloat16, precision == "bf16", cache_enabled=False),
        InFloat32() if taken_in_float32(precision, device) else contextlib.nullcontext(),
    ):
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


def taken_in_float32(precision: str | None, device: torch.device) -> bool:
    """Whether products in that precision are made of float32 ones, for want of instructions."""
    return precision == "bf16" and device.type == "cpu" and not multiplies_bf16()


class InFloat32(TorchDispatchMode):
    """Within, products of bf16 numbers are taken as products of float32, and rounded once.

    So do the instructions for bf16 where a processor has them; where it has not, torch's own way
    takes tens of times as long.
    """

    def __torch_dispatch__(
        self,
        operation: OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if operation.overloadpacket in PRODUCTS and args[-1].dtype == torch.bfloat16:
            out = kwargs.pop("out", None)
            product = operation.overloadpacket(*(x.float() for x in args), **kwargs)
            return product.bfloat16() if out is None else out.copy_(product)
        return operation(*args, **kwargs)
