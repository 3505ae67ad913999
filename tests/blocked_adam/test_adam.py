"""Adam without the compiler is Adam."""

import subprocess
import sys

import torch

from blocked_adam import Adam

ALONE = """
import sys, torch
from blocked_adam import Adam
weight = torch.nn.Parameter(torch.ones(2))
optimizer = Adam([weight], fused=True)
weight.sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


def trained(kind: type[torch.optim.Adam], steps: int) -> tuple[torch.Tensor, torch.optim.Adam]:
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 7))
    optimizer = kind([weight], 0.01, weight_decay=0.1, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    return weight.detach(), optimizer


def test_it_takes_torchs_steps():
    (ours, optimizer), (theirs, known) = (trained(kind, 20) for kind in (Adam, torch.optim.Adam))
    assert torch.equal(ours, theirs)
    for one, other in zip(optimizer.state.values(), known.state.values(), strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_it_loads_torchs_state():
    (weight, _), (_, known) = trained(Adam, 0), trained(torch.optim.Adam, 5)
    optimizer = Adam([weight], fused=True)
    optimizer.load_state_dict(known.state_dict())
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert optimizer.state[weight]["step"] == 5


def test_hooks_run_once_a_step():
    _, optimizer = trained(Adam, 0)
    taken: list[int] = []
    optimizer.register_step_post_hook(lambda *_: taken.append(1))
    optimizer.step()
    assert taken == [1]


def test_no_compiler_is_loaded():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
