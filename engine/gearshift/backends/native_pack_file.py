"""Packed weights in the cache folder: files that are mapped as they are, and written once.

A file is a header, a table (JSON: the key of every block -> its offset and its bytes), and the
blocks. Each holds what its program needs and no earlier file of its folder holds, so the trunk is
packed once, and every further task adds its router and its decoder. A block's bytes are not
checked again: they are taken as they were written, and only the header and the table are checked.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from weakref import finalize
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gearshift.backends.native_weights import Block
from gearshift.cache import cache_folder
from gearshift.errors import GearshiftError
from gearshift.graph.layout import CARD_FILE
from gearshift.graph.read import read_card_file
from gearshift_kernels.native.pack import LINE, aligned

VERSION = 1
"""Of the file and of the layout of every block in it."""

MAGIC = b"gearpack"
HEADER = struct.Struct("<8sQQQQ")
"""Magic, version, bytes of the file, bytes of the table, the table's CRC-32."""

Bytes = NDArray[np.uint8]


class DamagedError(Exception):
    """A file that is no whole pack file of this version."""


class Pack:
    """Blocks in memory: a mapped file, or memory of this process.

    Args:
        content: all bytes, from a page's beginning.
        table: by key, a block's offset and bytes.
        descriptor: of the file that `content` maps, if it does; closed with the pack.
    """

    def __init__(
        self, content: Bytes, table: dict[str, tuple[int, int]], descriptor: int | None = None
    ) -> None:
        self.content = content
        self.address = int(content.ctypes.data)
        self.table = table
        self.descriptor = descriptor
        if descriptor is not None:
            finalize(self, os.close, descriptor)


class PackedWeights:
    """The blocks of all programs of one session, by key.

    Args:
        folder: where the files are; None packs into memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._opened: set[str] = set()
        """Names of the files that are mapped."""
        self._places: dict[tuple[str, int], tuple[Pack, int]] = {}
        """By key and bytes, where a block is."""

    def hold(self, blocks: Iterable[Block], task: str) -> None:
        """Find the blocks in the folder's files, and pack what none of them has.

        Raises:
            GearshiftError: the cache folder cannot be written.
        """
        blocks = list(blocks)
        if self._missing(blocks) and self._folder is not None:
            self._open_files(self._folder)
        missing = self._missing(blocks)
        if not missing:
            return
        table, size = _lay_out(missing)
        if self._folder is None:
            content = np.frombuffer(mmap.mmap(-1, size), np.uint8)
            for block, memory in _packed(missing):
                offset, nbytes = table[block.key]
                content[offset : offset + nbytes] = memory
            self._add(Pack(content, table))
        else:
            path = self._folder / f"{_file_name(task)}-{_digest(missing)}.pack"
            self._add(_write(path, missing, table, size))
            self._opened.add(path.name)

    def address(self, block: Block) -> int:
        """Where a block that is held begins in memory, to be read only."""
        pack, offset = self._places[block.key, block.nbytes]
        return pack.address + offset

    def read(self, block: Block, memory: Bytes) -> None:
        """Copy a block that is held into `memory`; the interpreter is free meanwhile.

        Raises:
            OSError: the file cannot be read any more.
        """
        pack, offset = self._places[block.key, block.nbytes]
        if pack.descriptor is None:
            memory[:] = pack.content[offset : offset + block.nbytes]
        elif os.preadv(pack.descriptor, [memory.data], offset) != block.nbytes:
            raise OSError(f"a file in {self._folder} became shorter while it was in use")

    def _missing(self, blocks: Iterable[Block]) -> list[Block]:
        return [block for block in blocks if (block.key, block.nbytes) not in self._places]

    def _open_files(self, folder: Path) -> None:
        for path in sorted(folder.glob("*.pack")):
            if path.name in self._opened:
                continue
            # What cannot be read is as good as not there, and is packed anew.
            with suppress(OSError):
                try:
                    self._add(open_pack(path))
                    self._opened.add(path.name)
                except DamagedError:
                    path.unlink()

    def _add(self, pack: Pack) -> None:
        for key, (offset, nbytes) in pack.table.items():
            self._places.setdefault((key, nbytes), (pack, offset))


def pack_folder(artifact: Path, precision: str) -> Path | None:
    """Where an artifact's packed weights of a precision are; None if `artifact` holds no card.

    Named by both hashes of the card, since the graph has a part in what is folded.

    Raises:
        GearshiftError: the folder cannot be made.
    """
    if not (artifact / CARD_FILE).is_file():
        return None
    card = read_card_file(artifact)
    identity = hashlib.sha256(f"{card.weights.sha256} {card.model.sha256}".encode()).hexdigest()
    folder = cache_folder() / "native" / f"{identity}-{precision}-v{VERSION}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return folder


def open_pack(path: Path) -> Pack:
    """Check and map a pack file.

    Raises:
        DamagedError: it is not whole, or something else.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        header = file.read(HEADER.size)
        actual = os.fstat(file.fileno()).st_size
        if len(header) < HEADER.size:
            raise DamagedError("no header")
        magic, version, size, table_bytes, checksum = HEADER.unpack(header)
        if (magic, version, size) != (MAGIC, VERSION, actual) or table_bytes > size:
            raise DamagedError("another kind of file, another version, or another size")
        text = file.read(table_bytes)
        if crc32(text) != checksum:
            raise DamagedError("the table's checksum differs")
        table = {key: (offset, nbytes) for key, (offset, nbytes) in json.loads(text).items()}
        for offset, nbytes in table.values():
            if offset % LINE or not HEADER.size + table_bytes <= offset <= offset + nbytes <= size:
                raise DamagedError("a block outside the file")
        pages = mmap.mmap(file.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ)
        return Pack(np.frombuffer(pages, np.uint8), table, os.dup(file.fileno()))


def _lay_out(blocks: Sequence[Block]) -> tuple[dict[str, tuple[int, int]], int]:
    """Offset and bytes by key, and the bytes of the whole file."""
    # A number takes at most 20 characters; what the table does not fill stays empty.
    end = HEADER.size + sum(len(json.dumps(block.key)) + 48 for block in blocks) + 2
    table = {}
    for block in blocks:
        offset = -(-end // block.alignment) * block.alignment
        table[block.key] = offset, block.nbytes
        end = offset + block.nbytes
    return table, end


def _write(
    path: Path, blocks: Sequence[Block], table: dict[str, tuple[int, int]], size: int
) -> Pack:
    """Write a pack file, whole or not at all; of several that write it, the last one stays."""
    text = json.dumps(table).encode()
    partial = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            partial = Path(file.name)
            file.write(HEADER.pack(MAGIC, VERSION, size, len(text), crc32(text)) + text)
            for block, memory in _packed(blocks):
                file.seek(table[block.key][0])
                file.write(memory.data)
        pack = open_pack(partial)
        partial.replace(path)
    except OSError as error:
        raise _unwritable(path.parent, error) from None
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    return pack


def _packed(blocks: Sequence[Block]) -> Iterator[tuple[Block, Bytes]]:
    """Each block with its bytes, with a bar if it takes long."""
    from tqdm import tqdm

    for block in tqdm(blocks, desc="packing weights", unit="block", delay=2, leave=False):
        memory = aligned(block.nbytes, np.uint8)
        block.write(memory)
        yield block, memory


def _digest(blocks: Sequence[Block]) -> str:
    """A name for the set of blocks: files with different blocks never replace each other."""
    content = sorted((block.key, block.nbytes) for block in blocks)
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _file_name(task: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in task[:40])


def _unwritable(folder: Path, error: OSError) -> GearshiftError:
    return GearshiftError(
        f"cache folder {folder} cannot be written ({error.strerror or error}); set "
        "GEARSHIFT_CACHE to a folder that you may write, with room for the packed weights"
    )
