"""`permtrain sample`: text from a run's network."""

from pathlib import Path
from typing import Annotated

import tyro

from permtrain.errors import SettingError
from permtrain.lab.cli.console import say, say_note
from permtrain.lab.cli.places import PlaceToLook


def sample(
    run: Annotated[Path, tyro.conf.Positional],
    place: Annotated[PlaceToLook, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    prompt: str = "",
    length: int = 500,
    temperature: float = 0.8,
    seed: int = 0,
    checkpoint: str = "last",
    trust_model: bool = False,
) -> None:
    """Write text with a run's network, which was trained on text, character by character.

    Args:
        run: The run's folder.
        prompt: What the text begins with; left out, a new line.
        length: How many characters are drawn.
        temperature: Below 1 likely characters are drawn more often than the network says, above 1
            less often; 0 takes the likeliest one each time.
        seed: Of the draws; the same seed gives the same text.
        checkpoint: last, best, or a checkpoint file.
        trust_model: Run the code of a network of one's own that was not trained here.
    """
    from permtrain.lab.training.run_folder import RunFolder

    RunFolder(run).settings()  # refuses what is no run; what follows imports torch
    from permtrain.lab.training import sampling
    from permtrain.lab.training.run import load_run

    trainer = load_run(run, place, checkpoint, images=False, trust_model=trust_model, say=say_note)
    characters = trainer.class_names
    if trainer.image_shape[:2] != (1, 1):
        raise SettingError(f"{run}: was trained on images; allowed: runs on text (--data text)")
    code_of = {character: code for code, character in enumerate(characters)}
    begin = prompt or ("\n" if "\n" in code_of else characters[0])
    if unknown := sorted(set(begin) - set(code_of)):
        raise SettingError(
            f"prompt has {unknown[0]!r}; allowed: characters of the text that the run was trained "
            f"on, {''.join(characters)!r}"
        )
    with trainer.method.arranged():
        codes = sampling.sample(
            trainer.model,
            trainer.image_shape[2],
            [code_of[character] for character in begin],
            length,
            temperature=temperature,
            seed=seed,
        )
    for line in (prompt + "".join(characters[code] for code in codes)).split("\n"):
        say(line)
