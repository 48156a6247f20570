"""Recipes: those of the package against the published numbers, their bases, and runs of each kind."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_people import write_people
from scipy.io import savemat

torch = pytest.importorskip("torch", reason="training needs torch: pip install transpose-sdk[train]")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: pip install transpose-sdk[train]")

from transpose_sdk.errors import CheckpointError, DataError  # noqa: E402
from transpose_sdk.models import TransPose, create_model, load_checkpoint, save_checkpoint  # noqa: E402
from transpose_sdk.models.encoder import sine_table  # noqa: E402
from transpose_sdk.skeletons import MPII16  # noqa: E402
from transpose_sdk.trainers.data.skeleton_file import load_skeleton  # noqa: E402
from transpose_sdk.trainers.loop import train  # noqa: E402
from transpose_sdk.trainers.recipe import Recipe, load_recipe, recipe_names  # noqa: E402
from transpose_sdk.trainers.run import start_run  # noqa: E402
from transpose_sdk.trainers.state import load_state  # noqa: E402
from transpose_sdk.trainers.step import learning_rate  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")

# The packaged recipes ---------------------------------------------------------------------------------------------


def recipe_model(recipe: Recipe) -> TransPose:
    """The network of a recipe, without memory for its weights."""
    keypoints = len(load_skeleton(recipe.skeleton, Path()))
    with torch.device("meta"):
        return create_model(recipe.model, keypoints=keypoints, input_size=recipe.input_size, **recipe.variant)


@pytest.mark.parametrize("name", recipe_names())
def test_packaged_recipes_build_their_network(name: str) -> None:
    recipe = load_recipe(name)
    model = recipe_model(recipe)
    assert model.input_size == recipe.input_size
    names = [parameter for parameter, _ in model.named_parameters()]
    assert all(any(parameter.startswith(prefix) for parameter in names) for prefix in recipe.frozen)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    line = f"| {name} | {recipe.about} |"
    assert line in (ROOT / "docs/recipes.md").read_text().splitlines(), f"docs/recipes.md lacks {line}"


LAYER_R = 5_985_105 - 5_195_345
LAYER_H = (17_455_697 - 17_306_129) // 2
TABLE_R = 32 * 24 * 256  # numbers of the position table, which the published counts contain


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("tp_r_a3_coco", 5_195_345),  # the published networks
        ("tp_r_a4_coco", 5_985_105),
        ("tp_h_s_coco", 8_019_281),
        ("tp_h_a4_coco", 17_306_129),
        ("tp_h_a6_coco", 17_455_697),
        ("tp_r_a2_coco", 5_195_345 - LAYER_R),  # what follows from them
        ("tp_r_a5_coco", 5_195_345 + 2 * LAYER_R),
        ("tp_r_a6_coco", 5_195_345 + 3 * LAYER_R),
        ("tp_h_a5_coco", 17_306_129 + LAYER_H),
        ("tp_r_a3_coco_learnable", 5_195_345),
        ("tp_r_a3_coco_none", 5_195_345 - TABLE_R),
        ("tp_r_a4_coco_384x288", 5_985_105 + TABLE_R * 5 // 4),  # 48 x 36 cells are 9/4 of 32 x 24
        ("tp_r_a4_mpii", 5_985_105 + TABLE_R // 3 - 257),  # 32 x 32 cells, and a joint less
        ("tp_r_a4_mpii_transfer", 5_985_105 + TABLE_R // 3 - 257),
    ],
)
def test_parameters_of_the_published_networks(name: str, parameters: int) -> None:
    assert sum(parameter.numel() for parameter in recipe_model(load_recipe(name)).parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "epochs", "batch_size"),
    [
        ("tp_r_a3_coco", 230, 28),
        ("tp_r_a4_coco", 230, 20),
        ("tp_h_s_coco", 240, 64),
        ("tp_h_a4_coco", 240, 56),
        ("tp_h_a6_coco", 240, 56),
    ],
)
def test_published_recipes(name: str, epochs: int, batch_size: int) -> None:
    recipe = load_recipe(name)
    assert recipe.model == name.removesuffix("_coco")
    assert (recipe.epochs, recipe.batch_size) == (epochs, batch_size)
    # Everything else as published.
    assert recipe == Recipe(recipe.model, about=recipe.about, epochs=epochs, batch_size=batch_size)
    assert (recipe.optimizer, recipe.lr, recipe.lr_end, recipe.schedule) == ("adam", 1e-4, 1e-5, "epoch")
    assert (recipe.half_body, recipe.scale, recipe.rotation, recipe.rotation_probability) == (0.3, 0.35, 45, 0.6)
    assert (recipe.sigma, recipe.flip, recipe.color, recipe.precision) == (2, 0.5, 0, "fp32")


# Reading ------------------------------------------------------------------------------------------------------------


def test_values_of_yaml_get_the_type_of_their_field(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: tp_m\nlr: 1e-4\nepochs: 3.0\nfrozen: features.0.\ninput_size: [64, 48]\nscale: 0\n")
    recipe = load_recipe(path, {"lr_end": "1e-6"})
    assert (recipe.lr, recipe.lr_end, recipe.epochs) == (1e-4, 1e-6, 3)  # YAML gives 1e-4 as text
    assert recipe.frozen == ("features.0.",)  # and not its letters
    assert recipe.input_size == (64, 48)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: tp_m\nlearning_rate: 1\n", r"unknown keys learning_rate; known are .*lr"),
        ("lr: 0.1\n", r"no model; name one"),
        ("model: tp_m\nlr: fast\n", r"lr is 'fast'; give a value of type float"),
        ("model: tp_m\nepochs: 1.5\n", r"epochs is 1.5; give a value of type int"),
        ("model: tp_m\ninput_size: 256\n", r"input_size is 256; give a value of type tuple"),
        ("model: tp_m\nsource_weights: [coco]\n", r"source_weights is \['coco'\]"),
        ("model: tp_m\nsource_weights: {coco: 1}\n", r"samples_per_epoch"),
        ("model: tp_m\nbatch_size: 0\n", r"batch_size=0; give a whole number from 1 on"),
        ("model: tp_m\nlocal_steps: -1\n", r"local_steps=-1; give a whole number from 0 on"),
        ("model: tp_m\noptimizer: sgd\n", r"optimizer 'sgd' is unknown: use adam or adamw"),
        ("model: tp_m\nschedule: linear\n", r"schedule 'linear' is unknown"),
        ("model: tp_m\nprecision: fp8\n", r"precision 'fp8' is unknown"),
        ("model: tp_m\nlr_final: -1\n", r"lr_final=-1\.0; give a number from 0 on"),
        ("model: tp_m\nflip: 7\n", r"flip=7\.0; give a number from 0 to 1"),
        ("model: tp_m\nsigma: .nan\n", r"sigma=nan; give a number above 0"),
        ("model: tp_m\ncompile: 1\n", r"compile is 1; give a value of type bool"),
        ("model: tp_m\nepochs: true\n", r"epochs is True; give a value of type int"),
        ("- model\n", r"is not a recipe: expected keys and values, got list"),
        ("model: [\n", r"is not YAML"),
    ],
)
def test_wrong_recipes(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=sentence):
        load_recipe(path)


def test_unknown_recipe_lists_the_packaged_ones() -> None:
    with pytest.raises(DataError, match=r"no recipe 'tp_x': give a YAML file or one of .*tp_r_a4_coco"):
        load_recipe("tp_x")


def test_recipe_replaces_keys_of_its_base(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: tp_r_a3_coco_learnable\nepochs: 10\nlr: 2e-4\n")
    (tmp_path / "other.yaml").write_text("base: mine.yaml\nlr: 3e-4\nvariant: {layers: 2}\nabout: a trial\n")
    published = load_recipe("tp_r_a3_coco_learnable")
    mine, other = load_recipe(tmp_path / "mine.yaml"), load_recipe(tmp_path / "other.yaml", {"epochs": 3})
    assert published.variant == {"position": "learnable"}
    assert mine == replace(published, epochs=10, lr=2e-4, about="")  # what the paper's row is for, mine is not
    assert other == replace(mine, epochs=3, lr=3e-4, variant={"layers": 2}, about="a trial")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"a.yaml": "base: b.yaml\n", "b.yaml": "base: a.yaml\n"},
            r"is its own base \(.*b\.yaml -> a\.yaml -> b\.yaml\)",
        ),
        ({"a.yaml": "base: nothing\n"}, r"no recipe 'nothing': give a YAML file or one of .*tp_m_128x96"),
        ({"a.yaml": "base: tp_m_128x96\nlearning_rate: 1\n"}, r"a\.yaml: unknown keys learning_rate"),
    ],
)
def test_wrong_bases(tmp_path: Path, files: dict[str, str], sentence: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=sentence):
        load_recipe(tmp_path / "a.yaml")


# Runs ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as COCO and MPII are, with four drawn figures to train on and two to evaluate on."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "annotations").mkdir()
    (folder / "annot").mkdir()
    for split, coco, mpii, count in (("train", "train2017", "train", 4), ("val", "val2017", "valid", 2)):
        content = write_people(folder, coco, count, seed=count)
        (folder / f"{coco}.json").rename(folder / f"annotations/person_keypoints_{coco}.json")
        shutil.copytree(folder / coco, folder / "images" / split)
        people = [
            {
                "image": f"{split}/{image['file_name']}",
                "joints": [person["keypoints"][3 * k : 3 * k + 2] for k in range(16)],
                "joints_vis": [1] * 16,
                "center": [60, 75],
                "scale": 0.5,
            }
            for image, person in zip(content["images"], content["annotations"], strict=True)
        ]
        (folder / f"annot/{mpii}.json").write_text(json.dumps(people))
    joints = np.array([person["joints"] for person in people]).transpose(1, 2, 0)
    heads = np.tile(np.array([[50.0, 10.0], [70.0, 35.0]])[:, :, None], len(people))
    truth = {"pos_gt_src": joints, "jnt_missing": np.zeros((16, len(people))), "headboxes_src": heads}
    savemat(folder / "annot/gt_valid.mat", truth)
    return folder


@pytest.fixture(scope="module")
def trained_on_coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of TP-R-A4 for COCO's joints, with weights that no initialisation gives."""
    torch.manual_seed(3)
    model = create_model("tp_r_a4", input_size=(64, 48))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "pos_embedding":
                parameter.add_(0.003)
    path = tmp_path_factory.mktemp("trained") / "coco.safetensors"
    save_checkpoint(model, path)
    return path


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("tp_r_a3_coco", (64, 48)),
        ("tp_r_a3_coco_learnable", (64, 48)),
        ("tp_h_s_coco", (64, 48)),
        ("tp_r_a4_mpii", (64, 64)),
        ("tp_r_a4_mpii_transfer", (64, 64)),
    ],
)
def test_two_steps_of_each_kind(
    data: Path, trained_on_coco: Path, tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    recipe = load_recipe(name, {"input_size": size, "batch_size": 2, "epochs": 1})
    init = trained_on_coco if recipe.new_final else None
    train(recipe, data, tmp_path, init=init, workers=0)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    done = [record for record in records if "epoch" in record][-1]
    assert done["samples"] == 4
    assert 0 < done["loss"] < 1
    assert Recipe.from_dict(json.loads((tmp_path / "recipe.json").read_text())) == recipe


# Transfer -----------------------------------------------------------------------------------------------------------


def transfer_recipe(**changed: Any) -> Recipe:
    return load_recipe("tp_r_a4_mpii_transfer", {"input_size": (64, 64), **changed})


def test_transfer_replaces_the_final_layer_and_nothing_else(trained_on_coco: Path, tmp_path: Path) -> None:
    run = start_run(transfer_recipe(), tmp_path, trained_on_coco, CPU, skeleton=MPII16)
    donor = create_model("tp_r_a4", input_size=(64, 48))
    given = load_checkpoint(trained_on_coco, donor).state_dict()
    state = run.model.state_dict()
    assert set(state) == set(given)
    changed = {name for name, value in state.items() if not torch.equal(value, given[name])}
    assert changed == {"final_layer.weight", "final_layer.bias", "pos_embedding"}
    torch.testing.assert_close(state["pos_embedding"], sine_table(8, 8, 256))
    weight = state["final_layer.weight"].flatten()
    assert state["final_layer.weight"].shape == (16, 256, 1, 1)
    # Uniform in +-1/sqrt(256): the deviation is the bound over sqrt(3), and a tenth lies in the outer tenths.
    assert weight.abs().max() <= 1 / 16
    assert weight.std().item() == pytest.approx(1 / 16 / 3**0.5, rel=0.05)
    assert (weight.abs() > 0.9 / 16).float().mean().item() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_transfer_has_two_learning_rates(trained_on_coco: Path, tmp_path: Path, optimizer: str) -> None:
    recipe = transfer_recipe(optimizer=optimizer, weight_decay=0.01, frozen=["conv1."])
    run = start_run(recipe, tmp_path, trained_on_coco, CPU, skeleton=MPII16)
    groups = run.optimizer.param_groups
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    for name, parameter in run.model.named_parameters():
        if name in ("conv1.weight", "pos_embedding"):
            assert id(parameter) not in rates
            continue
        assert rates[id(parameter)] == pytest.approx(1e-4 if name.startswith("final_layer.") else 1e-5)
        assert decays[id(parameter)] == (0.01 if optimizer == "adamw" and parameter.dim() > 1 else 0)


def test_both_learning_rates_fall_and_are_resumed(data: Path, trained_on_coco: Path, tmp_path: Path) -> None:
    recipe = transfer_recipe(batch_size=2, epochs=2)
    train(recipe, data, tmp_path, init=trained_on_coco, workers=0)
    groups = load_state(tmp_path / "last.pt")["optimizer"]["param_groups"]
    rate = learning_rate(recipe, 1, 0, steps=2)
    assert rate == pytest.approx(5.5e-6)
    assert [group["lr"] for group in groups] == pytest.approx([rate, 10 * rate])
    longer = transfer_recipe(batch_size=2, epochs=3)
    train(longer, data, tmp_path, workers=0, changed=True)  # what is resumed needs no checkpoint to start from
    resumed = load_state(tmp_path / "last.pt")
    assert resumed["progress"]["epoch"] == 3
    rate = learning_rate(longer, 2, 0, steps=2)
    assert [group["lr"] for group in resumed["optimizer"]["param_groups"]] == pytest.approx([rate, 10 * rate])


def test_transfer_needs_a_trained_network(trained_on_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"new_final .*give its checkpoint by --init"):
        start_run(transfer_recipe(), tmp_path, None, CPU, skeleton=MPII16)
    stem = tmp_path / "stem.pth"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, stem)
    with pytest.raises(CheckpointError, match=r"stem\.pth"):
        start_run(transfer_recipe(), tmp_path, stem, CPU, skeleton=MPII16)
    with pytest.raises(CheckpointError, match="final_layer"):  # other joints without new_final
        start_run(transfer_recipe(new_final=False), tmp_path, trained_on_coco, CPU, skeleton=MPII16)
