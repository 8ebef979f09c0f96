"""An ensemble under torch.vmap: every member orders its own initial values, in one pass."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.func import functional_call, stack_module_state

from permtrain import Verification, arrange, initialize_, profile_of, straight_through, verify


def main(num_members: int = 5, num_steps: int = 150) -> Verification:
    torch.manual_seed(0)
    images, labels = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
    images = images.float() / 16

    nets = [
        nn.Sequential(nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 10)) for _ in range(num_members)
    ]
    for seed, net in enumerate(nets):
        initialize_(net, "kaiming_uniform", seed=seed)
    parameters, _ = stack_module_state(nets)  # (members, out, in) and (members, out)
    weights = [name for name in parameters if name.endswith("weight")]
    profiles = {
        name: torch.stack([profile_of(each.detach()) for each in parameters[name]])
        for name in weights
    }

    def logits(profile, scores, x):
        shown = {name: straight_through(profile[name], scores[name]) for name in weights}
        return functional_call(nets[0], scores | shown, (x,))

    optimizer = torch.optim.Adam(parameters.values(), lr=2e-3)
    for _ in range(num_steps):
        batch = torch.randint(1500, (50,))
        out_MBC = torch.vmap(logits, in_dims=(0, 0, None))(profiles, parameters, images[batch])
        optimizer.zero_grad()
        targets = labels[batch].repeat(num_members)
        nn.functional.cross_entropy(out_MBC.flatten(0, 1), targets, reduction="sum").backward()
        optimizer.step()

    with torch.no_grad():
        votes = torch.vmap(logits, in_dims=(0, 0, None))(profiles, parameters, images[1500:])
    accuracy = (votes.softmax(-1).mean(0).argmax(1) == labels[1500:]).float().mean()
    print(f"{accuracy:.1%} on the last 297 digits, {num_members} nets together")

    member = nets[-1]
    with torch.no_grad():
        for name in weights:
            member.get_parameter(name).copy_(arrange(profiles[name][-1], parameters[name][-1]))
    return verify(member)  # against the record of its birth


if __name__ == "__main__":
    print(main())
