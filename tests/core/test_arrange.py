"""`arrange` and `straight_through` under vmap, torch.compile and torch.export."""

import pytest
import torch
from torch import nn

from permtrain import arrange, profile_of, straight_through
from permtrain.core.cut import Cut
from permtrain.errors import NonFiniteError, ProfileError

FACTORS = torch.arange(24.0).reshape(2, 3, 4)
CUTS = {
    "neuron": "neuron",
    "layer": "layer",
    "kernel": "kernel",
    "output axis 1": Cut("neuron", 1),
    "a stack's neurons": Cut("neuron", 1, is_stack=True),
    "a stack's layers": Cut("layer", 1, is_stack=True),
}


@pytest.fixture(params=CUTS)
def granularity(request):
    return CUTS[request.param]


def members(shape=(2, 3, 4), count=5):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *shape, generator=generator)


@pytest.mark.parametrize("function", [arrange, straight_through])
@pytest.mark.parametrize("in_dims", [(0, 0), (None, 0), (0, None), (0, 2)])
def test_vmap_arranges_each_member_as_it_would_be_alone(function, in_dims, granularity):
    profiles = torch.stack([profile_of(each, granularity) for each in members()])
    likes = members() + 1
    likes = [like * sign for like, sign in zip(likes, (1, -1, 1, -1, 1), strict=True)]
    profile_of_each = profiles if in_dims[0] == 0 else [profiles[0]] * 5
    like_of_each = likes if in_dims[1] is not None else [likes[0]] * 5
    expected = [
        function(profile, like, granularity)
        for profile, like in zip(profile_of_each, like_of_each, strict=True)
    ]
    out = torch.vmap(lambda p, x: function(p, x, granularity), in_dims=in_dims)(
        profiles if in_dims[0] == 0 else profiles[0],
        likes[0] if in_dims[1] is None else torch.stack(likes, dim=in_dims[1]),
    )
    assert torch.equal(out, torch.stack(expected))


def test_vmap_takes_one_profile_for_all_vectors_of_all_members():
    profile = torch.tensor([1.0, 2.0, 3.0, 4.0])
    out = torch.vmap(arrange, in_dims=(None, 0))(profile, members((3, 4)))
    assert torch.equal(out, torch.stack([arrange(profile, each) for each in members((3, 4))]))


def loss(profile, scores, granularity):
    return (straight_through(profile, scores, granularity) * FACTORS).sum()


def test_gradients_of_an_ensemble_pass_straight_through(granularity):
    profile = profile_of(members()[0], granularity)
    gradients = torch.vmap(torch.func.grad(lambda w: loss(profile, w, granularity)))(members())
    assert torch.equal(gradients, FACTORS.expand(5, 2, 3, 4))


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_whole_graph_computes_the_same_and_passes_gradients(granularity):
    profile = profile_of(members()[0], granularity)
    scores = members()[1].requires_grad_()
    expected = loss(profile, scores, granularity)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    out = compiled(profile, scores, granularity)
    out.backward()
    assert torch.equal(out, expected)
    assert torch.equal(scores.grad, FACTORS)
    arranged = torch.compile(arrange, fullgraph=True, backend="aot_eager")
    assert torch.equal(
        arranged(profile, members()[1], granularity), arrange(profile, members()[1], granularity)
    )


@pytest.mark.filterwarnings("ignore")
def test_errors_come_where_the_values_are():
    compiled = torch.compile(arrange, fullgraph=True, backend="aot_eager")
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        compiled(torch.tensor([1.0, 2.0]), torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ProfileError, match="does not ascend"):
        compiled(torch.tensor([2.0, 1.0]), torch.tensor([[1.0, 0.0]]))
    with pytest.raises(ProfileError, match="does not ascend"):
        torch.vmap(arrange, in_dims=(None, 0))(torch.tensor([2.0, 1.0]), members((3, 2)))


@pytest.mark.filterwarnings("ignore")
def test_a_net_that_arranges_its_weights_is_exported():
    class Arranged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores = nn.Parameter(members((3, 4))[0])
            self.register_buffer("profile", profile_of(members((3, 4))[1]))

        def forward(self, x):
            return nn.functional.linear(x, straight_through(self.profile, self.scores))

    net, x = Arranged(), members((4,))
    assert torch.equal(torch.export.export(net, (x,)).module()(x), net(x))
