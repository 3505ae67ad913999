"""`torch.optim.Adam` without the compiler.

Torch keeps its optimizers out of what `torch.compile` traces, and imports all of the compiler to do
so: two to three seconds of every process that trains. Nothing here is traced.
"""

import inspect

import torch

dense_step = inspect.unwrap(torch.optim.Adam.step)


class Adam(torch.optim.Adam):
    """As `torch.optim.Adam`; it loads no compiler."""

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    step = torch.no_grad()(dense_step)
