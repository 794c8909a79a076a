"""Finished segments that are kept packed (`<name>.jsonl.zst`): shown under their plain names, with the bytes inside.

A packed file is one zstd frame. It is unpacked piece by piece, and only as far as somebody reads, into a file without
a name; so memory does not grow with it, and nothing of it outlives the process. Where it is damaged its bytes end: to
a reader it is a segment that was cut there, and `fault` tells why.
"""

import os
import tempfile
import threading
from typing import TYPE_CHECKING

from eventlog.segment import segment_number

if TYPE_CHECKING:
    from zstandard import ZstdDecompressionObj

PACKED = ".zst"
UNPACKED_FILES_MAX = 4
"""Each may take the space of a whole segment while it is read."""

_PIECE_BYTES = 4096
"""Of a packed file, unpacked at once: it gives 128 KiB for as little as 4 bytes."""
_HEADER_BYTES = 18


def shown(names: list[str]) -> list[str]:
    """Return the *names* of files as readers are to see them: packed segments under their plain names.

    Where both are there the plain one counts, and the newest segment, which is written to, is never taken for packed:
    such names stay as they are, for `segment_numbers` to refuse and `strays` to tell of.
    """
    ends = [name for name in names if name.endswith(PACKED)]
    if not ends:
        return names
    plain = {name for name in names if segment_number(name) is not None}
    packed = {name for each in ends if segment_number(name := each.removesuffix(PACKED)) is not None} - plain
    packed.discard(max(plain | packed, default=""))
    return sorted(packed | {name for name in names if name.removesuffix(PACKED) not in packed})


class Packed:
    """One packed file, and as much of it as was unpacked so far. It is closed when nobody refers to it any more."""

    def __init__(self, source: int, folder: str) -> None:
        """Take over the open file *source*; what is unpacked lies in *folder*, or where temporary files do."""
        self._source, self._copy = source, -1
        self._folder = folder
        self._lock = threading.Lock()
        self._taken = self._done = 0
        self._piece = b""
        self._fault: str | None = None
        self._decoder: ZstdDecompressionObj | None = None  # let go of at the end, with its window of some MiB
        self._told = self._begin()

    def is_gone(self) -> bool:
        """Tell whether its name was removed or given to another file."""
        return os.fstat(self._source).st_nlink == 0

    @property
    def size(self) -> int:
        """How many bytes are inside: as its header tells, or else found out by unpacking all of it."""
        if self._told is not None:
            return self._told
        with self._lock:
            self._unpack()
            return self._done

    @property
    def fault(self) -> tuple[str, int] | None:
        """Why not all of it can be unpacked, if it cannot, and how many bytes can."""
        with self._lock:
            self._unpack()
            return None if self._fault is None else (self._fault, self._done)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to *length* bytes from *offset*; fewer only where they end."""
        with self._lock:
            self._unpack(offset + length)
            if self._copy < 0:
                return b""
            length = max(0, min(length, self._done - offset))
            data = os.pread(self._copy, length, offset)
            while len(data) < length:
                data += os.pread(self._copy, length - len(data), offset + len(data))
            return data

    def _begin(self) -> int | None:
        """Return the size that the header tells; None if it tells none."""
        import zstandard  # here: most logs have nothing packed, and every command would wait for it

        try:
            told = zstandard.frame_content_size(os.pread(self._source, _HEADER_BYTES, 0))
        except zstandard.ZstdError:
            self._fault = "it is not a zstd file"
            return 0
        self._decoder = zstandard.ZstdDecompressor().decompressobj()
        return None if told < 0 else told

    def _unpack(self, end: int | None = None) -> None:
        """Unpack up to the byte *end*, or all. Interrupted by an error of the system, it goes on when called again."""
        while (end is None or self._done < end) and (self._piece or self._decoder is not None):
            self._piece = self._piece or self._next_piece()
            if self._piece:
                if self._copy < 0:
                    self._copy = _nameless(self._folder)
                written = os.pwrite(self._copy, self._piece, self._done)
                self._piece = self._piece[written:]
                self._done += written

    def _next_piece(self) -> bytes:
        import zstandard

        assert self._decoder is not None
        data = os.pread(self._source, _PIECE_BYTES, self._taken)
        if not data:
            return self._end("it is cut short")
        self._taken += len(data)
        try:
            piece = self._decoder.decompress(data)
        except zstandard.ZstdError as error:
            return self._end(f"it cannot be unpacked behind byte {self._taken - len(data)} ({error})")
        if self._decoder.eof:
            more = self._decoder.unused_data or os.pread(self._source, 1, self._taken)
            self._end("it goes on behind its first zstd frame" if more else None)
        return piece

    def _end(self, fault: str | None) -> bytes:
        self._fault, self._decoder = fault, None
        return b""

    def __del__(self) -> None:
        os.close(self._source)
        if self._copy >= 0:
            os.close(self._copy)


class PackedFiles:
    """Packed files by the path of what is in them, at most `UNPACKED_FILES_MAX`; the one used longest ago makes room."""

    def __init__(self) -> None:
        self._files: dict[str, Packed] = {}
        self._lock = threading.Lock()

    def get(self, path: str) -> Packed:
        """Return the packed file that holds *path*.

        Raises:
            OSError: there is none, or it cannot be opened.

        """
        with self._lock:
            file = self._files.pop(path, None)
            if file is None or file.is_gone():
                file = Packed(os.open(path + PACKED, os.O_RDONLY), os.path.dirname(path))
            self._files[path] = file
            if len(self._files) > UNPACKED_FILES_MAX:
                del self._files[next(iter(self._files))]
            return file

    def let_go_of_all(self) -> None:
        with self._lock:
            self._files.clear()


def _nameless(folder: str | None) -> int:
    """Return a new, open file without a name: in *folder*, which is on a disk, unless nothing may be made there."""
    try:
        # Where the system cannot make one without a name it has one for a moment, which `verify` knows.
        with tempfile.TemporaryFile(buffering=0, suffix=".tmp", dir=folder) as file:
            return os.dup(file.fileno())
    except OSError:
        if folder is None:
            raise
        return _nameless(None)
