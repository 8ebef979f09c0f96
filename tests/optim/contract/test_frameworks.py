"""The contract of permuters: optimizers, parameters and checkpoints as frameworks make them."""

import copy
import warnings

import pytest
import torch
from torch import nn
from training_problem import assert_same, loss_of, small_net, train, weights_of

from permtrain import SGPerm, initialize_
from permtrain.errors import ChangedWeightsError, CheckpointError, GranularityError, KindError
from permuter_problem import INNER, started


@pytest.mark.filterwarnings("ignore")  # torch's own, of a single process
@pytest.mark.parametrize("num_steps", [0, 5])
@pytest.mark.parametrize("birth", ["torch's", "drawn", "drawn, weights loaded before"])
def test_distributed_checkpointing_saves_it_and_loads_a_fresh_one(
    permuter_of, num_steps, birth, tmp_path
):
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    model, optimizer, permuter = started(permuter_of, inner="sgd")
    if birth != "torch's":
        initialize_(model, seed=3)
    train(model, optimizer, range(num_steps))
    momenta = copy.deepcopy(optimizer.state_dict())
    dcp.save({"model": model, "permuter": permuter}, checkpoint_id=tmp_path / "saved")
    other = small_net(7)
    if birth != "torch's":
        initialize_(other, seed=3)
    if birth == "drawn, weights loaded before":
        other.load_state_dict(copy.deepcopy(model.state_dict()))
    other_optimizer = INNER["sgd"](other.parameters())
    other_permuter = permuter_of(other_optimizer, model=other)
    dcp.load({"model": other, "permuter": other_permuter}, checkpoint_id=tmp_path / "saved")
    other_optimizer.load_state_dict(momenta)
    assert other_permuter.num_steps == num_steps
    assert other_permuter.has_begun == bool(num_steps)
    train(model, optimizer, range(num_steps, num_steps + 7))
    train(other, other_optimizer, range(num_steps, num_steps + 7))
    assert_same(weights_of(model), weights_of(other))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("written", ["", "before", "after"])
def test_distributed_checkpointing_takes_the_optimizers_state_beside_it(
    permuter_of, written, tmp_path
):
    """By torch's own functions, whose made-up step is no training; profiles born and others."""
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    def begun(is_written):
        model = small_net()
        initialize_(model, seed=3)
        if is_written:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1.5)
        optimizer = INNER["adam"](model.parameters())
        return model, optimizer, permuter_of(optimizer, model=model)

    model, optimizer, permuter = begun(bool(written))
    train(model, optimizer, range(5))
    weights, momenta = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": momenta, "permuter": permuter}
    dcp.save(state, checkpoint_id=tmp_path / "saved")
    other, other_optimizer, other_permuter = begun(written == "before")
    weights, momenta = get_state_dict(other, other_optimizer)
    state = {"model": weights, "optimizer": momenta, "permuter": other_permuter}
    dcp.load(state, checkpoint_id=tmp_path / "saved")
    set_state_dict(other, other_optimizer, model_state_dict=weights, optim_state_dict=momenta)
    train(model, optimizer, range(5, 12))
    train(other, other_optimizer, range(5, 12))
    assert_same(weights_of(model), weights_of(other))


@pytest.mark.filterwarnings("ignore")
def test_distributed_checkpointing_refuses_a_model_that_was_not_drawn_alike(permuter_of, tmp_path):
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    model, optimizer, permuter = started(permuter_of, inner="sgd")
    if any(cut.is_across for cut in permuter.cuts.values()):
        pytest.skip("profiles across tensors are always saved")
    initialize_(model, seed=3)
    train(model, optimizer, range(3))
    dcp.save({"permuter": permuter}, checkpoint_id=tmp_path / "saved")
    other, optimizer, permuter = started(permuter_of, inner="sgd")
    train(other, optimizer, range(3))
    with pytest.raises(CheckpointError, match="of a model that initialize_ drew"):
        dcp.load({"permuter": permuter}, checkpoint_id=tmp_path / "saved")


def test_the_optimizer_inside_a_wrapper_of_accelerate_is_attached_to(permuter_of):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model, other = small_net(), small_net()
    wrapped = accelerator.prepare(INNER["adam"](model.parameters()))
    permuter = permuter_of(wrapped, model=model)
    assert permuter.optimizer is wrapped.optimizer
    optimizer = INNER["adam"](other.parameters())
    permuter_of(optimizer, model=other)
    train(model, wrapped, range(5))
    train(other, optimizer, range(5))
    assert_same(weights_of(model), weights_of(other))


def test_the_optimizer_inside_a_wrapper_of_fabric_is_attached_to(permuter_of):
    fabric = pytest.importorskip("lightning.fabric").Fabric(accelerator="cpu", devices=1)
    model = small_net()
    wrapped_model, wrapped = fabric.setup(model, INNER["adam"](model.parameters()))
    permuter = permuter_of(wrapped, model=wrapped_model)
    assert permuter.optimizer is wrapped.optimizer
    loss_of(model, 0).backward()
    wrapped.step()
    assert permuter.num_steps == 1


@pytest.mark.parametrize("num_steps", [0, 2])
@pytest.mark.parametrize("look", ["step", "state_dict"])
def test_a_parameter_that_was_resized_is_an_error(permuter_of, num_steps, look):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(num_steps))
    optimizer.zero_grad()
    model[6].weight.data = torch.zeros(5, 10)
    look_at = {"step": optimizer.step, "state_dict": permuter.state_dict}[look]
    with pytest.raises(ChangedWeightsError, match=r"^6\.weight: .* from \(3, 10\) to \(5, 10\);"):
        look_at()


@pytest.mark.parametrize("num_steps", [0, 2])
def test_sgperm_refuses_a_parameter_that_was_resized(num_steps):
    model = small_net()
    optimizer = SGPerm(model.parameters(), model=model)
    train(model, optimizer, range(num_steps))
    model[6].weight.data, model[6].bias.data = torch.zeros(5, 10), torch.zeros(5)
    with pytest.raises(ChangedWeightsError, match=r"^6\.weight: .* from \(3, 10\) to \(5, 10\);"):
        train(model, optimizer, range(1))


def flat(use_orig_params: bool) -> nn.Module:
    """A model whose parameters are one flat tensor, or views of it."""
    fsdp = pytest.importorskip("torch.distributed.fsdp").FullyShardedDataParallel
    distributed = torch.distributed
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            device = torch.device("cpu")
            return fsdp(small_net(), use_orig_params=use_orig_params, device_id=device)
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("use_orig_params", [False, True])
@pytest.mark.parametrize("with_model", [False, True])
def test_flat_parameters_are_refused_by_name(permuter_of, use_orig_params, with_model):
    model = flat(use_orig_params)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    message = "parameter 0 of the optimizer is a flat parameter of FullyShardedDataParallel"
    with pytest.raises(GranularityError, match=message):
        permuter_of(optimizer, model=model if with_model else None)
    with pytest.raises(GranularityError, match=message):
        SGPerm(model.parameters(), model=model if with_model else None)


def test_quantized_weights_are_refused_by_name(permuter_of):
    pytest.importorskip("torchao")
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = nn.Sequential(nn.Linear(64, 64))
    quantize_(model, Int8WeightOnlyConfig())
    with pytest.raises(KindError, match=r"^0\.weight is a Int8Tensor, made of other tensors"):
        permuter_of(torch.optim.SGD(model.parameters(), lr=0.1), model=model, granularity="neuron")


def test_a_tensor_made_of_others_is_refused_by_name(permuter_of):
    from torch.testing._internal.two_tensor import TwoTensor

    weight = nn.Parameter(TwoTensor(torch.zeros(3, 4), torch.zeros(3, 4)))
    with pytest.raises(KindError, match="parameter 0 is a TwoTensor, made of other tensors"):
        permuter_of(torch.optim.SGD([weight], lr=0.1), granularity="neuron")


def test_sgperm_given_a_model_for_its_parameters_says_who_does_that():
    with pytest.raises(KindError, match=r"params is a Sequential; .* Hugging Face's Trainer gives"):
        SGPerm(small_net())
