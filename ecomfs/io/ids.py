"""Notice an id that comes twice, in bounded memory."""

from __future__ import annotations

from array import array
from hashlib import blake2b


class IdTracker:
    """A set of ids that keeps only an 8-byte hash of each: about 16 to 32 bytes an id.

    Among ten million different ids the chance of any false alarm is 3 in a million (birthday
    bound n²/2⁶⁵).

    >>> ids = IdTracker()
    >>> ids.add("r1"), ids.add("r2"), ids.add("r1")
    (True, True, False)
    >>> len(ids)
    2
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, identifier: str) -> bool:
        return self._slots[self._place(_hash(identifier))] != 0

    def add(self, identifier: str) -> bool:
        """Add an id; false when it was there already."""
        key = _hash(identifier)
        place = self._place(key)
        if self._slots[place]:
            return False
        self._slots[place] = key
        self._count += 1
        if 2 * self._count > len(self._slots):
            self._grow()
        return True

    def _place(self, key: int) -> int:
        """Slot that holds the key, or the free one where it belongs (linear probing)."""
        slots, mask = self._slots, len(self._slots) - 1
        place = key & mask
        while slots[place] and slots[place] != key:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        old = self._slots
        self._slots = array("Q", bytes(8 * 2 * len(old)))
        for key in old:
            if key:
                self._slots[self._place(key)] = key


def _hash(identifier: str) -> int:
    digest = blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1  # 0 marks a free slot
