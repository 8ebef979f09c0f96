"""A sweep with optuna: learning rate and sync period together, for they depend on each other."""

import optuna
import torch
from sklearn.datasets import load_digits
from torch import nn

from permtrain import LaPerm, Verification, initialize_, verify


def trained(rate: float, sync_period: int, num_steps: int) -> tuple[float, Verification]:
    """Accuracy on digits that were not trained on, and whether values held."""
    images, labels = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
    images = images.float() / 16
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 10))
    initialize_(model, "kaiming_uniform", seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    permuter = LaPerm(optimizer, sync_period=sync_period, model=model)
    for _ in range(num_steps):
        batch = torch.randint(1200, (50,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    permuter.synchronize()
    accuracy = (model(images[1200:1500]).argmax(1) == labels[1200:1500]).float().mean()
    return accuracy.item(), verify(model, permuter)


def main(num_trials: int = 8, num_steps: int = 100) -> Verification:
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        sync_period = trial.suggest_int("sync_period", 1, 50, log=True)
        return trained(rate, sync_period, num_steps)[0]

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=num_trials)
    print(f"best of {num_trials}: {study.best_value:.1%} with {study.best_params}")
    best = study.best_params
    return trained(best["rate"], best["sync_period"], num_steps)[1]


if __name__ == "__main__":
    print(main())
