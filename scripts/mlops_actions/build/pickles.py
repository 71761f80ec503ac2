"""What a model's files would import when they are loaded.

A pickle is a program. Its opcodes are read, never run, and each thing that it imports must be on
the list below. picklescan finds the imports; what is allowed is decided here, as a list of what is
known, because a list of what is dangerous is never complete.
"""

from __future__ import annotations

import dataclasses
import io
import pickletools
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from mlops_actions.errors import ConfigurationError

_NAMED_LIKE_PICKLES = {".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".pt", ".pth"}
_NUMPY = b"\x93NUMPY"
_ZIP = b"PK"
_MAX_PROBED = 50_000_000  # Bytes of a file of unknown kind that are tried as a pickle.
# Of these packages and modules, and what is in them, what looks like a class: its instances' state
# is data. Not all of pandas and SciPy: an expression is evaluated while it is made, a file is
# opened, and a distribution keeps code in its state.
_DATA = (
    "catboost",
    "lightgbm",
    "pandas._libs",
    "pandas.arrays",
    "pandas.core.arrays",
    "pandas.core.dtypes",
    "pandas.core.frame",
    "pandas.core.indexes",
    "pandas.core.internals",
    "pandas.core.series",
    "scipy.interpolate",
    "scipy.optimize",
    "scipy.sparse",
    "scipy.spatial",
    "sklearn",
    "xgboost",
)
_NOT_DATA = ("sklearn.datasets", "sklearn.externals", "sklearn.utils._testing", "xgboost.testing")
_CLASS = re.compile(r"_?[A-Z]\w*|__pyx_unpickle_\w+|cs[rc]_(matrix|array)|coo_(matrix|array)")
_KNOWN = {
    "__builtin__": {"bytearray", "complex", "frozenset", "object", "range", "set", "slice"},
    "_codecs": {"encode"},
    "builtins": {"bytearray", "complex", "frozenset", "object", "range", "set", "slice"},
    "collections": {"OrderedDict", "defaultdict", "deque"},
    "copyreg": {"_reconstructor"},
    "datetime": {"date", "datetime", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "joblib.numpy_pickle": {"NumpyArrayWrapper"},
    "numpy": {"dtype", "ndarray", "bool_", "float32", "float64", "int32", "int64", "str_"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.random._pickle": {
        "__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor",
    },
    "numpy.random.bit_generator": {"SeedSequence", "__pyx_unpickle_SeedSequence"},
    "numpy.random._mt19937": {"MT19937"},
    "numpy.random._pcg64": {"PCG64"},
    "pandas._libs.internals": {"_unpickle_block"},
    "pandas.core.indexes.base": {"_new_Index"},
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """Something in a file that is not allowed."""

    file: str
    what: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What was found: how many pickles, and what speaks against them."""

    pickles: int
    findings: list[Finding]


def scan(folder: Path, *, declared: Iterable[str] = (), allowed: Iterable[str] = ()) -> Result:
    """Look at every file of a model.

    ``declared`` are files that MLmodel says are pickles; ``allowed`` are further packages whose
    names may be imported.
    """
    packages = set(allowed)
    names = set(declared)
    pickles = 0
    findings: list[Finding] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            for member, stream, surely in _streams(name, file, name in names):
                if stream is None:
                    findings.append(Finding(file=member, what="cannot be read as what it is named"))
                    continue
                pickles += 1
                findings += _judge(member, stream, packages, surely=surely)
    return Result(pickles=pickles, findings=findings)


def _streams(
    name: str, file: IO[bytes], declared: bool
) -> Iterator[tuple[str, IO[bytes] | None, bool]]:
    """Give the pickles in a file as (name, stream, certain); ``None`` for what is broken."""
    head = file.read(len(_NUMPY))
    file.seek(0)
    if head.startswith(_ZIP):
        yield from _members(name, file)
        return
    if head == _NUMPY:
        inside = _object_array(file)
        if inside is not None:
            yield name, inside, True
        return
    surely = declared or head[:1] == b"\x80" or Path(name).suffix.lower() in _NAMED_LIKE_PICKLES
    if surely or _parses(file):
        file.seek(0)
        yield name, file, surely


def _members(name: str, file: IO[bytes]) -> Iterator[tuple[str, IO[bytes] | None, bool]]:
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    inside = io.BytesIO(archive.read(member))
                    yield from _streams(f"{name}:{member.filename}", inside, declared=False)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):
        yield name, None, True  # Damaged or encrypted: loaders are more lenient than we are.


def _object_array(file: IO[bytes]) -> IO[bytes] | None:
    """The pickle inside an array of objects, ``None`` when the array holds plain numbers."""
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    _, _, dtype = read_header(file)
    return io.BytesIO(file.read()) if dtype.hasobject else None


def _parses(file: IO[bytes]) -> bool:
    """Whether a file is a whole pickle of the oldest protocol, which has no mark at its start."""
    content = file.read(_MAX_PROBED)
    try:
        names = [opcode.name for opcode, _, _ in pickletools.genops(content)]
    except Exception:  # noqa: BLE001 - whatever it raises, this is no pickle.
        return False
    return len(names) > 1


def _judge(name: str, stream: IO[bytes], packages: set[str], *, surely: bool) -> list[Finding]:
    try:
        from picklescan.scanner import scan_pickle_bytes
    except ImportError:
        raise ConfigurationError(
            f"{name} is a pickle, and picklescan, which looks into it, is not installed."
        ) from None
    content = io.BytesIO(stream.read())
    result = scan_pickle_bytes(content, name)
    content.seek(0)
    broken = result.scan_err or not _ends(content)
    if broken and (surely or result.globals):
        return [Finding(file=name, what="cannot be read to its end")]
    return [
        Finding(file=name, what=f"imports {found.module}.{found.name}")
        for found in sorted(result.globals, key=lambda item: (item.module, item.name))
        if not _allowed(found.module, found.name, packages)
    ]


def _ends(content: IO[bytes]) -> bool:
    """Whether the first pickle has an end, with nothing behind it."""
    try:
        for _ in pickletools.genops(content):
            pass
    except Exception:  # noqa: BLE001 - any of them means that it has not.
        return False
    return not content.read(1)


def _allowed(module: str, name: str, packages: set[str]) -> bool:
    if name in _KNOWN.get(module, ()):
        return True
    # A dotted name reaches through a class to what it imported itself.
    if "." in name:
        return False
    if module.partition(".")[0] in packages:
        return True
    known = _within(module, _DATA) and not _within(module, _NOT_DATA)
    return known and bool(_CLASS.fullmatch(name))


def _within(module: str, places: Iterable[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)
