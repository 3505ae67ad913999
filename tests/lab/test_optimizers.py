"""Of the optimizers of a large table, blocked Adam is Adam and a lazy one is not."""

from embedding_collapse.lab import optimizers


def test_in_the_trial_blocked_adam_is_adam_and_a_lazy_one_is_not(monkeypatch):
    monkeypatch.setattr(optimizers, "STEPS", 24)
    monkeypatch.setattr(optimizers, "ROWS", 100)
    trial = optimizers.trial(block=8)
    assert trial.same_bits
    assert trial.ends["blocked Adam"] < 2 * trial.ends["dense Adam"] < 1e-5
    assert trial.ends["lazy Adam"] > 1e-3
    assert all(len(steps) == 24 for steps in trial.distances.values())
