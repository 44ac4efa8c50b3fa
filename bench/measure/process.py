"""What the operating system and the C library say of this process's memory."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import psutil

PROBE = 8 << 20  # bytes
ROWS = ".arrow"  # how the files of data sets end
_FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS)


def heap_reader() -> Callable[[], int] | None:
    """A function that reads the bytes which the heap has in use, by glibc's `mallinfo2`, in some ten microseconds.

    None where there is no such function, or where it does not see our memory because another allocator is preloaded.
    """
    libc = ctypes.CDLL(None)  # its functions run without the interpreter's lock
    if not hasattr(libc, "mallinfo2"):
        return None
    libc.mallinfo2.restype = _Mallinfo2
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)

    def read() -> int:
        info = libc.mallinfo2()
        return int(info.uordblks + info.hblkhd)

    before = read()
    block = libc.malloc(PROBE)
    sees = read() - before >= PROBE // 2
    libc.free(block)
    return read if sees else None


def tidy_heap() -> None:
    """Free what is unreachable and give free heap back to the system, where glibc offers it."""
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Give free heap back to the system, where glibc offers it."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def mapped_bytes() -> int:
    """Resident bytes of files mapped into memory, on Linux.

    Programs and libraries, which have code, do not count, nor do the rows of a data set: the system drops and reads
    them again as it likes, and rows that are not in a file lie in Arrow's own memory, which does not count either.
    """
    sizes: dict[str, int] = {}
    code, path = set(), ""
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as file:
        for line in file:
            key, _, rest = line.partition(" ")
            if key == "Rss:":
                sizes[path] = sizes.get(path, 0) + int(rest.split()[0]) * 1024
            elif not key.endswith(":"):  # address, permissions, offset, device, inode, path
                permissions, _, _, _, *name = rest.split(maxsplit=4)
                path = name[0].strip() if name else ""
                if "x" in permissions:
                    code.add(path)
    return sum(
        size
        for path, size in sizes.items()
        if path.startswith("/") and not path.removesuffix(" (deleted)").endswith(ROWS) and path not in code
    )


def resident_bytes() -> int:
    """The process's resident set."""
    return int(psutil.Process().memory_info().rss)


class Resident:
    """The high-water mark of the resident set: the kernel's own where it can be reset, else the highest sample."""

    _STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def __init__(self) -> None:
        self._highest = 0
        self._kernel = self._clear()

    def reset(self) -> None:
        """Forget the peak."""
        self._highest = 0
        if self._kernel:
            self._clear()
        self.sample()

    def sample(self) -> None:
        """Take a reading into account where the kernel does not keep the peak."""
        if not self._kernel:
            self._highest = max(self._highest, resident_bytes())

    def peak(self) -> int:
        """The highest resident set since `reset`, in bytes."""
        if self._kernel:
            return self._kernel_peak()
        self.sample()
        return self._highest

    def _clear(self) -> bool:
        try:
            self._CLEAR.write_text("5")  # resets VmHWM; see proc_pid_clear_refs(5)
        except OSError:
            return False
        return True

    def _kernel_peak(self) -> int:
        words = self._STATUS.read_text().split()
        return int(words[words.index("VmHWM:") + 1]) * 1024
