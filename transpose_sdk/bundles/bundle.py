"""A model on disk: a folder NAME.tpose with bundle.json and the graphs it describes.

Nothing in a bundle is executable and nothing is a pickle. A graph is used only if its files have the SHA-256 that
bundle.json states.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from msgspec import Meta

from transpose_sdk.bundles.external_data import external_files
from transpose_sdk.checks.numbers import is_whole
from transpose_sdk.checks.small_file import LARGEST_DESCRIPTION, read_small
from transpose_sdk.checks.typed import MismatchError, typed
from transpose_sdk.disk.digest import file_digest
from transpose_sdk.disk.user_folder import models_folder
from transpose_sdk.errors import BundleError
from transpose_sdk.models.variant import Variant
from transpose_sdk.scores import ScoreMaps
from transpose_sdk.signals import OcclusionRule
from transpose_sdk.skeletons import Skeleton

LARGEST_SIDE = 4096  # px of an input; the networks have 128 to 640
Side = Annotated[int, Meta(ge=1, le=LARGEST_SIDE)]
# Names become file names in the user's folders: no separators, and nothing that leads elsewhere.
NAME = r"^\w[\w .+-]{0,99}\Z"
Name = Annotated[str, Meta(pattern=NAME)]
FORMATS = (".xml", ".onnx", ".safetensors")  # of graphs: those whose every file a digest can cover
Share = Annotated[float, Meta(ge=0, le=1)]

SCHEMA = 1
FILE = "bundle.json"
ASSETS = Path(__file__).parents[1] / "assets"
SUFFIX = ".tpose"
DEFAULT_MODEL = "tp_l_256x192"  # the pose bundle that is taken where none is named


@dataclass(frozen=True)
class Graph:
    """One form of a bundle's network.

    Attributes:
        path: File to open.
        sha256: Digest by file name, of every file that belongs to the graph.
    """

    path: Path
    sha256: Mapping[str, str]

    def verify(self) -> None:
        """Check the digests of the files.

        Raises:
            BundleError: A file is missing or is not the one that was exported.
        """
        for name, digest in self.sha256.items():
            file = self.path.parent / name
            if not file.is_file():
                raise BundleError(f"{file} is missing: the bundle is incomplete, export or download it again")
            try:
                found = file_digest(file)
            except OSError as error:
                raise BundleError(f"cannot read {file} ({error.strerror or error}): check its permission") from None
            if found != digest:
                raise BundleError(f"{file} is not the file that was exported (SHA-256 differs): get the bundle again")
        needed = {self.path.name, self.path.with_suffix(".bin").name if self.path.suffix == ".xml" else self.path.name}
        try:
            if self.path.suffix == ".onnx" and self.path.is_file():
                needed |= external_files(self.path)
            if self.path.suffix == ".xml" and self.path.is_file() and not _is_xml(self.path):
                raise ValueError("it does not begin as XML")  # whatever else it is may read other files
        except (OSError, ValueError) as error:
            raise BundleError(f"{self.path} is no graph of its kind ({error}): get the bundle again") from None
        if missing := sorted(needed - set(self.sha256)):
            raise BundleError(f"{self.path.parent} states no SHA-256 for {missing[0]}: export or download it again")


@dataclass(frozen=True)
class Attachment:
    """A file that belongs to a bundle but is no graph.

    Attributes:
        path: The file.
        sha256: Its digest.
    """

    path: Path
    sha256: str


@dataclass(frozen=True)
class AttentionOutputs:
    """The queries and keys that the graphs give.

    Attributes:
        grid: (height, width) of the attention grid.
    """

    grid: tuple[Side, Side]


@dataclass(frozen=True)
class Accuracy:
    """What was measured with the bundle's own graphs.

    Attributes:
        data: On which images.
        boxes: "ground truth", or who found them.
        AP: COCO's average precision, 0..1; None where something else was measured.
    """

    data: str = ""
    boxes: str = ""
    AP: float | None = None


@dataclass(frozen=True)
class Published:
    """What the authors of the network's checkpoint say about it.

    Attributes:
        url: Where they published it.
        ap_gt_boxes: AP on COCO val2017 with annotated boxes, in percent.
    """

    url: str
    ap_gt_boxes: float


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    What is None is not stated in bundle.json; a detector's has no skeleton, for example.

    Attributes:
        name: The network's name.
        kind: "pose" or "detector".
        input_size: (height, width) of the input in px.
        graphs: The graphs by name: a precision ("fp16", "int8") for OpenVINO, "onnx", "onnx_int8", or "torch".
        keypoints: What the keypoints are; see `skeleton`.
        network: The numbers by which the network can be built again.
        attention: What the graphs give of the last attention layer.
        probe: The self-check; see `transpose_sdk.bundles.probe`.
        occlusion: How the occlusion hint follows from the signals of this network.
        flip_test: Whether the mirrored crop is inferred too and averaged, unless the caller says otherwise.
        scores: From this network's scores to probabilities; None where that was never fitted, and
            `transpose_sdk.scores.DEFAULT_MAPS` guess.
        score_threshold: Lowest score of a person that a detector finds.
        accuracy: What was measured.
        published: What the checkpoint's authors say.
        licence: Of the weights.
        training_data: What they learned from.
        folder: Where the bundle lies.
        description: All of bundle.json, to be shown or written again; to be read there are the fields.
    """

    name: Name
    kind: Literal["pose", "detector"]
    input_size: tuple[Side, Side]
    graphs: Mapping[str, Graph]
    keypoints: Skeleton | None = None
    network: Variant | None = None
    attention: AttentionOutputs | None = None
    probe: Attachment | None = None
    occlusion: OcclusionRule | None = None
    flip_test: bool = False
    scores: ScoreMaps | None = None
    score_threshold: Share | None = None
    accuracy: Accuracy | None = None
    published: Published | None = None
    licence: str = ""
    training_data: str = ""
    folder: Path = Path()
    description: Mapping[str, Any] = field(default_factory=dict)

    @property
    def skeleton(self) -> Skeleton:
        """What the network's keypoints are.

        Raises:
            BundleError: bundle.json has no skeleton.
        """
        if self.keypoints is None:
            raise BundleError(f"{self.folder / FILE} states no skeleton: export or download a pose bundle again")
        return self.keypoints

    @property
    def attention_grid(self) -> tuple[int, int] | None:
        """(height, width) of the attention grid; None where the graphs give no attention."""
        return None if self.attention is None else self.attention.grid

    def graph(self, name: str) -> Graph:
        """A graph by name, its files checked.

        Raises:
            BundleError: The bundle has no such graph, or a file of it is missing or changed.
        """
        if name not in self.graphs:
            offered = ", ".join(self.graphs) or "none"
            raise BundleError(
                f"{self.folder.name} has no graph {name!r}: it offers {offered} (`transpose models list`)"
            )
        graph = self.graphs[name]
        graph.verify()
        return graph

    def probe_file(self) -> Path:
        """The file of the self-check, checked.

        Raises:
            BundleError: The bundle has none, or the file is missing or changed.
        """
        if self.probe is None:
            raise BundleError(f"{self.folder.name} has no probe: export it again, or download a newer one")
        Graph(self.probe.path, {self.probe.path.name: self.probe.sha256}).verify()
        return self.probe.path


def open_bundle(spec: str | Path, kind: str) -> Bundle:
    """Open a bundle by path, or a shipped or imported one by name.

    Args:
        spec: A name such as "person" of a bundle that comes with the package or was imported, or a folder. A bare word
            is a name first: "./person" is the folder where both are there.
        kind: "pose" or "detector", what it has to be.

    Raises:
        BundleError: There is no such bundle, it is damaged, of a newer schema, of another kind, or points outside.
    """
    folder = _find(spec, kind)
    description = _read_description(folder)
    if description.get("kind") != kind:
        raise BundleError(f"{folder} is a {description.get('kind')} bundle, not a {kind} bundle: give another one")
    return read_bundle(folder, description)


def read_bundle(folder: Path, description: Mapping[str, Any]) -> Bundle:
    """What a bundle.json says, in types.

    Args:
        folder: Of the bundle; its files need not be there.
        description: The content.

    Raises:
        BundleError: Something is missing, of another type, or lies outside the folder.
    """
    stated = {**description, "keypoints": description.get("skeleton"), "folder": "", "description": {}}
    try:
        bundle = typed(stated, Bundle, hook=lambda _, name: _inside(folder, name) if name else folder)
    except MismatchError as error:
        what = re.sub("^keypoints", "skeleton", str(error))  # as the file calls it
        raise BundleError(
            f"{folder / FILE} is incomplete or damaged ({what}): export or download the bundle again, or update "
            "transpose_sdk if the bundle is newer"
        ) from None
    for graph in bundle.graphs.values():
        if graph.path.suffix not in FORMATS:
            raise BundleError(
                f"{folder / FILE} has the graph {graph.path.name!r}: expected {', '.join(FORMATS)}; export it again"
            )
        for file in graph.sha256:
            _inside(folder, file)
    if bundle.scores is not None and len(bundle.scores.joints) not in (1, len(bundle.keypoints or ())):
        raise BundleError(
            f"{folder / FILE} has maps for the scores of {len(bundle.scores.joints)} joints, its skeleton has "
            f"{len(bundle.keypoints or ())}: fit them again with `transpose fit`"
        )
    return replace(bundle, description=description)


def bundle_names(kind: str) -> list[str]:
    """Names of the bundles of a kind that come with the package or were imported."""
    return [folder.stem for folder in named_folders(ASSETS) + named_folders(models_folder()) if kind_of(folder) == kind]


def named_bundle(spec: str | Path) -> Path | None:
    """The folder of the shipped or imported bundle that a bare word names; None where it names none."""
    if Path(spec).name == str(spec):
        for place in (ASSETS, models_folder()):
            named = place / f"{spec}{SUFFIX}"
            if named.is_dir():
                return named
    return None


def named_folders(place: Path) -> list[Path]:
    """The bundles in a folder, by name; none where it does not exist."""
    return sorted(path for path in place.glob(f"*{SUFFIX}") if path.is_dir())


def kind_of(folder: Path) -> str | None:
    """What a bundle is, "pose" or "detector"; None where it is damaged."""
    try:
        return str(_read_description(folder).get("kind"))
    except BundleError:
        return None


def _is_xml(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _find(spec: str | Path, kind: str) -> Path:
    path = Path(spec)
    named = named_bundle(spec)
    # A bare word is a name first: a folder of photos called "person" would hide the detector. A Path is a path first.
    if named is not None and not (isinstance(spec, Path) and path.is_dir()):
        return named
    if path.is_dir():
        return path
    names = ", ".join(bundle_names(kind)) or "none"
    raise BundleError(f"no {kind} bundle {str(spec)!r}: give a folder with bundle.json, or one of these names: {names}")


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    try:
        description = json.loads(read_small(path, LARGEST_DESCRIPTION).decode("utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{folder} has no bundle.json: give a folder that `transpose export` wrote") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"cannot read {path} ({error}): export or download the bundle again") from None
    if not isinstance(description, dict) or not is_whole(description.get("schema")):
        raise BundleError(f"{path} is not a bundle's description: give a folder that `transpose export` wrote")
    if description["schema"] > SCHEMA:
        raise BundleError(
            f"{folder} has schema {description['schema']}, this version reads up to {SCHEMA}: update transpose_sdk"
        )
    return description


def _inside(folder: Path, name: Any) -> Path:
    """A file of the bundle; every file lies directly in its folder."""
    if not isinstance(name, str) or name != PurePosixPath(name).name or name in ("", ".", "..") or "\\" in name:
        raise BundleError(f"{folder / FILE} names a file outside the bundle, {name!r}: do not use this bundle")
    return folder / name
