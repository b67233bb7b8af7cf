"""Reversible wiring: the inverse is algebra, the gradient is the plain one, memory doesn't grow."""

import pytest
import torch
from torch import nn

from wmark.inversion.diffusion import ddim, unwired, wired
from wmark.inversion.wiring import Wired, reversible
from wmark.models.multistep import MULTISTEP, sample
from wmark.models.schedule import Grid
from wmark.models.wired import blocks, sample_wired, wire


def module(count, seed=0):
    torch.manual_seed(seed)
    parts = [nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 4, 1)) for _ in range(count)]
    return Wired(parts, v=0.6).double()


def plainly(chain, x1, x2):
    for block, v in zip(chain.blocks, chain.v, strict=True):
        x1, x2 = wire(block, x1, x2, v)
    return x1, x2


def test_gradients_are_those_of_plain_back_propagation(toy):
    chain = module(6)
    x1, x2 = (toy.noise().roll(i).requires_grad_() for i in range(2))
    target = toy.noise().flip(0)
    found = {}
    for name, run in (("plain", plainly), ("reversible", lambda chain, *x: chain(*x))):
        y1, y2 = run(chain, x1, x2)
        loss = (y1 - target).square().sum() + (y2 * target).sum()
        found[name] = torch.autograd.grad(loss, (x1, x2, *chain.parameters()))
    assert len(found["plain"]) == 2 + 1 + 6 * 4
    for plain, recomputed in zip(found["plain"], found["reversible"], strict=True):
        assert torch.allclose(plain, recomputed, rtol=1e-8, atol=1e-8)


def test_the_inverse_is_exact(toy):
    chain, x = module(20), toy.noise()
    for found, given in zip(chain.inverse(*chain(x, x.flip(0))), (x, x.flip(0)), strict=True):
        assert toy.apart(found, given) < 1e-9


def kept(run):
    """Bytes that a forward pass keeps for the backward pass."""
    sizes = {}

    def pack(tensor):
        sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = run()
    del outputs
    return sum(sizes.values())


def test_memory_does_not_grow_with_the_number_of_steps(toy):
    predict, noise = toy.network(), toy.noise().requires_grad_()
    held = {"wired": [], "plain": []}
    for steps in (10, 20, 50):
        chain = blocks(predict, Grid.of(toy.schedule, steps))
        v = torch.full((steps,), 0.95, dtype=torch.float64)
        held["wired"].append(kept(lambda chain=chain, v=v: reversible(chain, noise, noise, v)) - 8 * steps)
        held["plain"].append(kept(lambda chain=chain: sample_wired(chain, noise)))
    assert held["wired"][0] == held["wired"][1] == held["wired"][2] == 2 * 8 * noise.numel()
    assert held["plain"][2] > 4 * held["plain"][0]


def test_the_wired_sampler_is_inverted_by_algebra(toy):
    predict, noise, grid = toy.network(), toy.noise(), Grid.of(toy.schedule, 20)
    chain = blocks(predict, grid)
    z, previous = sample_wired(chain, noise)
    path = unwired(chain, z, previous)
    assert len(path) == 21
    assert toy.apart(path[0], noise) < 1e-10
    found = wired(predict, toy.schedule, z, steps=20, previous=previous)
    assert torch.equal(found.noise, path[0])
    assert found.calls.tolist() == [19, 19]


def test_the_wired_sampler_goes_where_ddim_goes(toy):
    predict, noise = toy.network(), toy.noise()
    fine = sample(predict, MULTISTEP["ddim"](Grid.of(toy.schedule, 900)), noise)
    grid = Grid.of(toy.schedule, 25)
    ends = {
        "wired": sample_wired(blocks(predict, grid), noise)[0],
        "ddim": sample(predict, MULTISTEP["ddim"](grid), noise),
    }
    assert toy.apart(ends["wired"], fine) < toy.apart(ends["ddim"], fine)


def test_the_image_alone_leads_close_to_the_noise(toy):
    predict, noise = toy.network(), toy.noise()
    z, _ = sample_wired(blocks(predict, Grid.of(toy.schedule, 20)), noise)
    found = wired(predict, toy.schedule, z, steps=20)
    assert toy.apart(found.noise, noise) < toy.apart(
        ddim(predict, toy.schedule, z, steps=20, evaluate_at="start").noise, noise
    )


@pytest.mark.parametrize("v", [0.5, 0.9])
def test_blocks_without_parameters_differentiate_the_noise(toy, v):
    predict, noise, grid = toy.network(), toy.noise().requires_grad_(), Grid.of(toy.schedule, 8)
    chain = blocks(predict, grid, v)
    (plain,) = torch.autograd.grad(sample_wired(chain, noise, v)[0].square().sum(), noise)
    weights = torch.full((8,), v, dtype=torch.float64)
    (found,) = torch.autograd.grad(reversible(chain, noise, noise, weights)[0].square().sum(), noise)
    assert torch.allclose(plain, found, rtol=1e-8, atol=1e-8)
