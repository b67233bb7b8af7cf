"""Gradients that keep the graph of one step."""

import pytest
import torch

from wmark.errors import ArgumentError
from wmark.inversion.shortcut import optimise, shortcut, through
from wmark.inversion.wiring import reversible
from wmark.models.schedule import Grid
from wmark.models.wired import blocks, sample_wired


def counting(chain, seen):
    def watched(i):
        def step(z):
            seen.append((i, torch.is_grad_enabled() and z.requires_grad))
            return chain[i](z)

        return step

    return [watched(i) for i in range(len(chain))]


def chain_of(toy, steps, v=0.0):
    return blocks(toy.network(), Grid.of(toy.schedule, steps), v)


@pytest.mark.parametrize("kept", [0, 3, 7])
def test_one_step_is_differentiated_and_the_end_is_the_samplers(toy, kept):
    seen = []
    chain, z = chain_of(toy, 8), toy.noise().requires_grad_()
    end = shortcut(counting(chain, seen), z, kept)
    assert toy.apart(end, through(chain, "all")(z)) < 1e-12
    assert seen == [(i, i == kept) for i in range(8)]
    assert torch.autograd.grad(end.sum(), z)[0].isfinite().all()


def test_what_is_kept_does_not_grow_with_the_chain(toy):
    kept = {}
    for steps in (10, 50):
        for which in ("random", "all"):
            count = []
            with torch.autograd.graph.saved_tensors_hooks(lambda t, c=count: c.append(t.numel()) or t, lambda t: t):
                through(chain_of(toy, steps), which)(toy.noise().requires_grad_())
            kept[steps, which] = sum(count)
    assert kept[50, "random"] == kept[10, "random"]
    assert kept[50, "all"] > 4 * kept[10, "all"]


@pytest.mark.parametrize("kept", ["random", "last", "all"])
def test_the_loss_falls_whichever_graph_is_kept(toy, kept):
    chain = chain_of(toy, 10)
    target = through(chain, "all")(toy.noise(seed=5))
    loss = lambda z: (z - target).flatten(1).square().mean(dim=1)  # noqa: E731
    found = optimise(through(chain, kept), toy.noise(), loss, iterations=120, learning_rate=0.1)
    assert found.history.shape == (121, 2)
    assert (found.loss < 0.02 * found.history[0]).all()
    assert torch.allclose(loss(through(chain, "all")(found.value)), found.loss.double(), rtol=1e-5)


def test_the_wired_chain_descends_as_plain_back_propagation_does(toy):
    chain, v = chain_of(toy, 6, 0.95), torch.full((6,), 0.95, dtype=torch.float64)
    loss = lambda z: z.flatten(1).square().mean(dim=1)  # noqa: E731
    runs = (lambda z: reversible(chain, z, z, v)[0], lambda z: sample_wired(chain, z, 0.95)[0])
    values = [optimise(run, toy.noise(), loss, iterations=10).value for run in runs]
    assert toy.apart(*values) < 1e-8


def test_steps_are_drawn_from_a_seed(toy):
    drawn = []
    for _ in range(2):
        seen = []
        run = through(counting(chain_of(toy, 10), seen), "random", seed=4)
        for _ in range(6):
            run(toy.noise().requires_grad_())
        drawn.append([i for i, kept in seen if kept])
    assert drawn[0] == drawn[1] and len(set(drawn[0])) > 2


def test_the_start_is_kept_where_nothing_is_better(toy):
    start = torch.zeros_like(toy.noise())
    found = optimise(lambda z: z, start, lambda z: z.flatten(1).abs().sum(dim=1), iterations=3)
    assert torch.equal(found.value, start)


def test_other_graphs_are_refused(toy):
    with pytest.raises(ArgumentError, match="'first'"):
        through(chain_of(toy, 2), "first")
