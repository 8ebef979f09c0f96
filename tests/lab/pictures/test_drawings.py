"""Every kind of picture: drawn, written, and what it says of itself."""

import base64
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from PIL import Image
from run_problem import place_in, tiny
from safetensors.torch import save_file
from torch import nn

from permtrain import initialize_, pack
from permtrain.errors import PermtrainError, PictureError, SettingError
from permtrain.lab.cli.main import main
from permtrain.lab.pictures import drawings
from permtrain.lab.pictures.curves import draw_bytes, draw_curves, draw_panels
from permtrain.lab.pictures.error_width import draw_error_width
from permtrain.lab.pictures.heat_maps import draw_connections, draw_matrix, draw_neurons
from permtrain.lab.pictures.histograms import draw_histograms
from permtrain.lab.pictures.images import draw_images
from permtrain.lab.pictures.numbers.cycles import rank_cycles
from permtrain.lab.pictures.numbers.scores import SizedScore
from permtrain.lab.pictures.permutations import draw_arrows, draw_cycles
from permtrain.lab.pictures.profiles import draw_profile_3d, draw_profiles
from permtrain.lab.pictures.records import IMAGE_ROWS
from permtrain.lab.pictures.registry import KINDS, Request
from permtrain.lab.pictures.runs import run_weights
from permtrain.lab.pictures.style import PALETTE, new_figure, save_figure, series_styles
from permtrain.lab.training.run import start_run
from permtrain.lab.training.settings import DataSettings, PermutationSettings, SGPermSettings

WIDTHS = "arm,width,linf_each\n" + "".join(f'"a, n={n}",{n},{1 / n} {2 / n}\n' for n in (4, 8, 16))
TABLE = (
    "arm,seed,test_percent,file_bytes,test_percent_at\na,0,97,300,1=50 2=60\na,1,96,310,1=51 2=61\n"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = place_in(tmp_path_factory.mktemp("runs"))
    return start_run(tiny(watch_ranking_distance=True), place).folder


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERMTRAIN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "table.csv").write_text(TABLE)
    (tmp_path / "widths.csv").write_text(WIDTHS)
    pixels = torch.arange(2 * 9, dtype=torch.uint8).reshape(2, 1, 3, 3)
    images = {name: pixels * (9 + i) for i, name in enumerate(IMAGE_ROWS)}
    save_file(images, tmp_path / "images.safetensors")


def source_of(kind: str, run: Path) -> str:
    others = {"curves": "table.csv", "bytes": "table.csv", "error-width": "widths.csv"}
    return (others | {"images": "digits", "image-grid": "."}).get(kind, str(run))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_and_written(kind: str, run: Path, capsys) -> None:
    assert main(["plot", kind, source_of(kind, run), "--output", "figure.png"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "wrote figure.png"
    image = np.asarray(Image.open("figure.png").convert("RGB"))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 3  # not blank


@pytest.mark.parametrize("kind", KINDS)
def test_no_word_is_cut_off(kind: str, run: Path) -> None:
    figure, _ = getattr(drawings, KINDS[kind].function)(Request((Path(source_of(kind, run)),)))
    FigureCanvasAgg(figure).draw()
    said = [text for legend in figure.legends for text in legend.get_texts()]
    said += [text for axes in figure.axes for text in (axes.title, axes._left_title)]
    said += [axis.label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    for text in said:
        box = text.get_window_extent()
        if text.get_text():
            assert figure.bbox.x0 - 1 <= box.x0, text
            assert box.x1 <= figure.bbox.x1 + 1, text
            assert figure.bbox.y0 - 1 <= box.y0, text
            assert box.y1 <= figure.bbox.y1 + 1, text


def own_net() -> nn.Module:
    """Layers of many kinds, as somebody's own network has them."""
    return nn.ModuleDict(
        {
            "tokens": nn.Embedding(30, 8),
            "up": nn.ConvTranspose2d(4, 6, 3, groups=2),
            "conv": nn.Conv2d(6, 4, 3, groups=2),
            "norm": nn.BatchNorm2d(4),
            "narrow": nn.Linear(1, 5),
            "single": nn.Linear(8, 1),
            "memory": nn.GRU(8, 4),
        }
    )


def write_pt(net: nn.Module) -> None:
    torch.save(net.state_dict(), "own")


def write_safetensors(net: nn.Module) -> None:
    save_file(net.state_dict(), "own")


def write_packed(net: nn.Module) -> None:
    initialize_(net)
    pack(net, "own")


def write_keras(net: nn.Module) -> None:
    with h5py.File("own", "w") as file:
        for name, tensor in net.named_parameters():
            if tensor.dim() > 1:
                file[f"model_weights/{name}/kernel:0"] = tensor.detach().movedim(0, -1).numpy()


OF_CHECKPOINTS = [name for name, kind in KINDS.items() if kind.source == "a checkpoint"]
OF_RUNS = [name for name, kind in KINDS.items() if "run folder" in kind.source]


def drawn(kind: str, source: Path | str, layer: str | None = None, vector: int = 0) -> list[str]:
    """What a picture says of itself; it is made, and not written."""
    figure, notes = getattr(drawings, KINDS[kind].function)(
        Request((Path(source),), layer=layer, vector=vector)
    )
    assert figure.axes
    return notes


@pytest.mark.parametrize("write", [write_pt, write_safetensors, write_packed, write_keras])
def test_checkpoints_of_own_networks(write: Callable[[nn.Module], None]) -> None:
    write(own_net())
    for kind in OF_CHECKPOINTS:
        drawn(kind, "own")
    for kind in OF_RUNS:
        message = (
            "own: only the folder of a run tells the weights before training|"
            r"own: no run folder, settings\.json is missing"
        )
        with pytest.raises(PermtrainError, match=f"^({message})$"):
            drawn(kind, "own")


PERMUTATIONS = {
    "layer": {"permutation": PermutationSettings(granularity="layer", sync_period=4)},
    "kernel": {
        "permutation": PermutationSettings(granularity="kernel", fallback="neuron", sync_period=4)
    },
    "index": {"permutation": PermutationSettings(method="index")},
    "sgperm": {"permutation": PermutationSettings(method="sgperm")},
    "bias in the row": {
        "permutation": PermutationSettings(method="sgperm", permute_biases=True),
        "sgperm": SGPermSettings(permuted_biases="row"),
    },
    "plain": {"permutation": PermutationSettings(method="plain")},
    "supermask": {"permutation": PermutationSettings(method="supermask")},
}
NEEDS_PERMUTATION = ("cycles", "arrows", "graph")


@pytest.mark.parametrize("what", PERMUTATIONS)
def test_runs_of_every_method_and_granularity(what: str, tmp_path: Path) -> None:
    changes = PERMUTATIONS[what]
    settings = tiny(watch_ranking_distance=True, **changes)
    folder = start_run(settings, place_in(tmp_path)).folder
    for kind in {*OF_CHECKPOINTS, *OF_RUNS} - {*NEEDS_PERMUTATION}:
        drawn(kind, folder)
    weights = run_weights(folder)
    before, after = weights.by_vector()
    moved = {
        name: np.flatnonzero((before[name] != after[name]).any(axis=1)).tolist() for name in after
    }
    for kind in NEEDS_PERMUTATION:
        if changes["permutation"].permutes:
            drawn(kind, folder, "output.weight", moved["output.weight"][0])
        else:
            method = changes["permutation"].method
            with pytest.raises(PictureError, match=f"was trained by {method}, which permutes noth"):
                drawn(kind, folder)


@pytest.mark.parametrize(
    ("what", "shapes"),
    [
        ("layer", [(1, 144), (1, 4608), (1, 9216), (1, 1280)]),
        ("kernel", [(16, 9), (512, 9), (1024, 9), (10, 128)]),
        ("bias in the row", [(16, 10), (32, 145), (32, 289), (10, 129)]),
        ("plain", [(16, 9), (32, 144), (32, 288), (10, 128)]),
    ],
)
def test_vectors_are_those_that_a_run_permutes(
    what: str, shapes: list[tuple[int, int]], tmp_path: Path
) -> None:
    folder = start_run(tiny(**PERMUTATIONS[what]), place_in(tmp_path)).folder
    weights = run_weights(folder)
    before, after = weights.by_vector()
    assert [w_VL.shape for w_VL in after.values()] == shapes
    unit_shapes = [w_VL.shape for w_VL in weights.by_unit()[1].values()]
    assert unit_shapes == [(16, 9), (32, 144), (32, 288), (10, 128)]
    for name in weights.permuting.cuts:
        if name in before:  # biases are no layers
            assert (np.sort(before[name]) == np.sort(after[name])).all()


def test_vectors_that_did_not_move(tmp_path: Path) -> None:
    """At granularity kernel many stand still in a short run; the error names one that moved."""
    folder = start_run(tiny(**PERMUTATIONS["kernel"]), place_in(tmp_path)).folder
    before, after = run_weights(folder).by_vector()
    moved = (before["conv2.weight"] != after["conv2.weight"]).any(axis=1)
    still = int(np.flatnonzero(~moved)[0])
    other = np.flatnonzero(moved)[0]
    with pytest.raises(PictureError, match=f"allowed: a vector that moved, as --vector {other}$"):
        drawn("cycles", folder, "conv2.weight", still)
    settings = tiny(permutation=PermutationSettings(sync_period=4), epochs=1)
    folder = start_run(settings, place_in(tmp_path)).folder
    with pytest.raises(PictureError, match=r"no weight moved, .*; allowed: another layer$"):
        drawn("arrows", folder, "conv1.weight")


def test_a_run_on_own_data_and_of_an_own_network(tmp_path: Path) -> None:
    for split, label, number in itertools.product(("train", "test"), "ab", range(8)):
        file = tmp_path / "photos" / split / label / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 7), 9 * number + (label == "b"), np.uint8)).save(file)
    settings = tiny(
        data=DataSettings(data="photos"),
        model="run_problem:net_with_dropout",
        batch_size=4,
        watch_ranking_distance=True,
    )
    folder = start_run(settings, place_in(tmp_path / "runs")).folder
    for kind in (*OF_CHECKPOINTS, *OF_RUNS):
        drawn(kind, folder, vector=1)
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    assert not any("not known" in note for note in drawn("histogram", folder))
    origin = json.loads((folder / "origin.json").read_text())  # an older run kept no sizes
    (folder / "origin.json").write_text(json.dumps(origin | {"data": None}))
    assert drawn("histogram", folder)[0].startswith("weights before training are not known: ")
    vectors = "vectors are taken to be those of output units: "
    assert drawn("profiles", folder)[0].startswith(vectors)
    with pytest.raises(PermtrainError, match="photos") as refused:
        drawn("cycles", folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("form", "begin"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")]
)
def test_the_names_ending_says_the_format(form: str, begin: bytes, tmp_path: Path) -> None:
    save_figure(draw_profiles({"w": np.eye(3)}), tmp_path / f"a.{form}")
    assert (tmp_path / f"a.{form}").read_bytes().startswith(begin)


def test_the_kinds_are_listed_without_matplotlib() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from permtrain.lab.cli.main import main; main(['plot'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(kind in done.stdout for kind in KINDS)


def test_without_matplotlib_the_extra_is_named() -> None:
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'matplotlib' else find(name, *a)\n"
        "from permtrain.lab.cli.main import main; main(['plot', 'images', 'digits'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "figures need matplotlib, which is not installed; pip install 'permtrain[plots]'" in (
        done.stderr
    )


def test_profiles_tell_their_similarity(run: Path, capsys) -> None:
    assert main(["plot", "profiles", str(run), "--layer", "output.weight"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("  output.weight: 0.9")
    assert said[2] == "wrote profiles.svg"
    assert Path("profiles.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("profils RUN", "kind is 'profils'; allowed: profiles, profile-3d, "),
        ("profiles", "profiles needs a source; allowed: a checkpoint"),
        ("profiles RUN RUN", "profiles takes one source, a checkpoint; given: 2"),
        ("profiles RUN --layer fc9", "layer is 'fc9'; allowed: "),
        (
            "profiles RUN --output a.jpg",
            "output is 'a.jpg'; allowed: a name that ends in .svg, .pdf",
        ),
        ("arrows RUN --vector 999", "vector is 999; allowed: 0 to "),
        (
            "arrows w.safetensors",
            "w.safetensors: only the folder of a run tells the weights before",
        ),
        (
            "histogram nan.safetensors",
            "w: 1 of 4 values are NaN or infinite; allowed: finite values",
        ),
        (
            "profiles nan.safetensors",
            "w: 1 of 4 values are NaN or infinite; allowed: finite values",
        ),
        ("partition RUN --seed -1", "seed is -1; allowed: 0 to 2^63 - 1"),
        ("ranking-distance RUN RUN", "a second run of laperm; allowed: one seed"),
        ("curves nowhere.csv", "nowhere.csv: not readable as CSV"),
    ],
)
def test_bad_input_is_one_line(arguments: str, message: str, run: Path, capsys) -> None:
    save_file({"w": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}, "w.safetensors")
    save_file({"w": torch.tensor([[1.0, 2.0], [3.0, float("nan")]])}, "nan.safetensors")
    assert main(["plot", *arguments.replace("RUN", str(run)).split()]) == 1
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert not list(Path().glob("*.svg"))


def test_descriptions_are_one_line_and_functions_exist() -> None:
    for kind in KINDS.values():
        assert "\n" not in kind.description
        assert callable(getattr(drawings, kind.function))


def test_same_figure_same_bytes(tmp_path: Path) -> None:
    for form in ("svg", "pdf", "png"):
        for name in "ab":
            save_figure(draw_histograms({"w": np.eye(3)}), tmp_path / f"{name}.{form}")
        assert (tmp_path / f"a.{form}").read_bytes() == (tmp_path / f"b.{form}").read_bytes()


def test_text_stays_text_in_vector_files(tmp_path: Path) -> None:
    save_figure(draw_profiles({"a layer": np.eye(3)}), tmp_path / "a.svg")
    assert "a layer" in (tmp_path / "a.svg").read_text()


def test_arrows_of_weights_that_stay_point_to_no_side() -> None:
    figure = draw_arrows([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 3.0, 4.0], "w")
    arrows = [text for text in figure.axes[1].texts if isinstance(text, Annotation)]
    drawn = {int(arrow.xy[0]): arrow.arrow_patch for arrow in arrows}
    lines = {place: patch.get_linestyle() for place, patch in drawn.items()}
    assert lines == {0: "--", 1: "-", 2: ":", 3: ":"}
    assert figure.get_suptitle().endswith("to the left; dotted grey: where it was")
    assert "grey" not in draw_arrows([1.0, 2.0], [2.0, 1.0], "w").get_suptitle()


def raster_in(path: Path) -> Image.Image:
    encoded = re.search(r"base64,([^\"]+)", path.read_text())
    assert encoded is not None
    return Image.open(BytesIO(base64.b64decode(encoded[1])))


@pytest.mark.parametrize(("inches", "dots"), [(4, 200), (40, 70.7)])
def test_rasters_of_large_sheets_are_coarser(inches: int, dots: float, tmp_path: Path) -> None:
    """Each one takes the time of the whole sheet: hundreds of layers took minutes."""
    figure = new_figure(inches, inches)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.plot([0, 1], [0, 1], rasterized=True)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    save_figure(figure, tmp_path / "a.svg")
    assert raster_in(tmp_path / "a.svg").size == pytest.approx((inches * dots,) * 2, rel=0.01)


@pytest.mark.parametrize("name", ["a$^$b", "$$", "$x_1$"])
def test_dollars_in_names_are_no_mathematics(name: str, tmp_path: Path) -> None:
    w = np.eye(3)
    for figure in (
        draw_profiles({name: w}),
        draw_profile_3d(w, name),
        draw_neurons(w, name),
        draw_matrix(w, name),
        draw_images(np.zeros((1, 2, 2)), [name], name),
        draw_curves({name: [[(1, 2.0)]]}, ylabel="y"),
        draw_bytes([SizedScore(name, 1, 0.5)]),
        draw_error_width({name: {1: [1.0], 2: [0.5]}}),
    ):
        save_figure(figure, tmp_path / "a.svg")
        assert name in (tmp_path / "a.svg").read_text()


def test_large_layers_are_rasters_in_vector_files(tmp_path: Path) -> None:
    w_VL = np.random.default_rng(0).normal(size=(300, 3000)).astype(np.float32)
    for figure in (draw_profiles({"w": w_VL}), draw_matrix(w_VL, "w"), draw_connections(w_VL, "w")):
        save_figure(figure, tmp_path / "a.svg")
        assert b"<image" in (tmp_path / "a.svg").read_bytes()
        assert (tmp_path / "a.svg").stat().st_size < 1_500_000


def titles(figure: Figure) -> str:
    return " ".join(axes.get_title(loc="left") for axes in figure.axes)


def test_thinning_is_told() -> None:
    assert "a pixel is the mean of 3 x 3" in titles(draw_matrix(np.zeros((40, 3000)), "w"))
    assert "a pixel" not in titles(draw_matrix(np.zeros((40, 30)), "w"))


def test_zeros_left_out_are_told() -> None:
    assert "zeros left out: 75%" in titles(draw_histograms({"w": np.eye(4)}))


def test_pictures_refuse_what_they_cannot_draw() -> None:
    for empty in (draw_profiles, draw_histograms):
        with pytest.raises(PictureError, match="there are no layers to draw"):
            empty({})
    with pytest.raises(PictureError, match="v: no weight moved, so there are no cycles"):
        draw_cycles(rank_cycles([1.0, 2.0], [1.0, 2.0]), "v")
    with pytest.raises(PictureError, match="a: 2 curves have no place in common"):
        draw_curves({"a": [[(1, 1.0)], [(2, 1.0)]]}, ylabel="y")
    with pytest.raises(PictureError, match="a: there are no curves to draw"):
        draw_curves({"a": []}, ylabel="y")
    with pytest.raises(PictureError, match="a: curve: 1 of 2 values are NaN"):
        draw_curves({"a": [[(1, float("nan")), (2, 1.0)]]}, ylabel="y")
    with pytest.raises(PictureError, match="there are no networks to draw"):
        draw_bytes([])
    with pytest.raises(PictureError, match="a: bytes are 0; allowed: above 0"):
        draw_bytes([SizedScore("a", 0, 1.0)])
    with pytest.raises(PictureError, match="a: bytes and accuracy: 1 of 2 values are NaN"):
        draw_bytes([SizedScore("a", 1, float("nan"))])
    with pytest.raises(SettingError, match=r"output is 'x\.gif'; allowed"):
        save_figure(new_figure(1, 1), Path("x.gif"))


def test_curves_and_points_are_where_the_data_are() -> None:
    curves = [[(1, 2.0), (2, 4.0)], [(1, 4.0), (2, 6.0), (3, 9.0)]]  # one seed stopped at 2
    figure = draw_curves({"a": curves}, ylabel="y")
    (line,), (band,) = figure.axes[0].lines, figure.axes[0].collections
    assert line.get_xydata().tolist() == [[1.0, 3.0], [2.0, 5.0]]
    assert {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()} == {
        (1.0, 2.0), (2.0, 4.0), (1.0, 4.0), (2.0, 6.0),
    }  # fmt: skip
    figure = draw_bytes([SizedScore("a", 100, 0.9)])
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[100.0, pytest.approx(10.0)]]
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("log", "log")
    perfect = draw_bytes([SizedScore("a", 100, 1.0)])  # which a logarithm cannot show
    assert perfect.axes[0].get_yscale() == "linear"


def test_kernels_are_tiles_of_the_picture_in_every_format(tmp_path: Path) -> None:
    """Two neurons, three inputs each, kernels of 2 x 2; Keras has inputs and neurons last."""
    weights = torch.arange(24, dtype=torch.float32).reshape(2, 3, 2, 2)
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file["conv/kernel"] = weights.permute(2, 3, 1, 0).numpy()
    torch.save({"conv/kernel": weights}, tmp_path / "net.pt")
    gap = np.nan
    for name in ("net.h5", "net.pt"):
        figure, _ = drawings.neurons(Request((tmp_path / name,)))
        first, second, _bar = (axes for axes in figure.axes)
        np.testing.assert_array_equal(
            np.ma.filled(first.images[0].get_array(), gap),
            [
                [0, 1, gap, 4, 5],
                [2, 3, gap, 6, 7],
                [gap] * 5,
                [8, 9, gap, gap, gap],
                [10, 11, gap, gap, gap],
            ],
        )
        assert second.images[0].get_array()[0, 0] == 12
        assert "the kernels of each neuron" in figure.get_suptitle()


def test_panels_share_scale_styles_and_legend() -> None:
    first = {"lenet5: laperm": [[(1, 90.0), (2, 95.0)]], "fc: laperm": [[(1, 80.0), (2, 85.0)]]}
    second = {"fc: laperm": [[(1, 60.0), (2, 70.0)]]}
    figure = draw_panels({"mnist": first, "$2$ own": second}, ylabel="y")
    left, right = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["mnist", "$2$ own"]
    assert left.get_ylim() == right.get_ylim()
    assert right.lines[0].get_xydata().tolist() == [[1.0, 60.0], [2.0, 70.0]]
    (lenet, fully), (again,) = left.lines, right.lines
    assert lenet.get_color() == fully.get_color() == again.get_color()  # one method
    assert lenet.get_marker() != fully.get_marker() == again.get_marker()
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ["lenet5: laperm (1 run)", "fc: laperm (1 run)"]


def test_seventeen_series_differ_and_one_method_has_one_color() -> None:
    methods = [f"method {i}" for i in range(9)]
    labels = [f"{net}: {method}" for net in ("lenet5", "fc500-300") for method in methods][:17]
    styles = series_styles(labels)
    assert len(set(styles.values())) == 17
    assert styles["lenet5: method 3"].color == styles["fc500-300: method 3"].color
    assert styles["lenet5: method 3"].marker != styles["fc500-300: method 3"].marker


def test_images_have_their_classes_below() -> None:
    figure = draw_images(np.zeros((5, 1, 2, 2)), ["cat", "dog", "cat", "ship", "$x$"], "animals")
    assert [a.texts[0].get_text() for a in figure.axes if a.texts] == [
        "cat", "dog", "cat", "ship", "$x$",
    ]  # fmt: skip


def test_weights_of_a_heat_map_are_white_at_zero() -> None:
    figure = draw_matrix(
        np.array([[-1.0, 0.0], [2.0, 4.0]]), "w", np.array([[4.0, 0.0], [2.0, -1.0]])
    )
    before, after = figure.axes[:2]
    assert before.get_position().x1 < after.get_position().x0  # side by side
    for axes in (before, after):
        assert axes.images[0].get_clim() == (-4.0, 4.0)


def test_colours_differ_in_lightness_or_hue_under_colour_blindness() -> None:
    """Viénot, Brettel and Mollon (1999): what people without red or green cones see."""
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in PALETTE])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for mix in ((0.11238, 0.88762), (0.29275, 0.70725)):  # protanopia, deuteranopia
        red_green = linear[:, :2] @ np.array(mix)
        seen = np.stack([red_green, linear[:, 2]], axis=1) ** (1 / 2.4)
        distances = np.linalg.norm(seen[:, None] - seen[None], axis=2)
        assert distances[~np.eye(len(seen), dtype=bool)].min() > 0.1
