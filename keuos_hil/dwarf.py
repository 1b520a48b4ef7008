"""Layouts from debug information: structures, arrays, unions, enumerations and variables of an ELF file.

So that no layout is typed twice: whoever reads target memory asks the image that runs there. Layouts are numpy dtypes;
:class:`Record` gives fields as attributes. What must not live here: which structures mean what.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import numpy as np
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from .errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_NAMED_TAGS = frozenset({
    "DW_TAG_structure_type", "DW_TAG_union_type", "DW_TAG_enumeration_type", "DW_TAG_typedef", "DW_TAG_variable",
})  # fmt: skip
_TRANSPARENT_TAGS = frozenset({
    "DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_atomic_type", "DW_TAG_restrict_type",
})  # fmt: skip
_SIGNED = frozenset({5, 6})  # DW_ATE_signed, DW_ATE_signed_char
_FLOAT = 4


class Record:
    """One structure in memory. Fields are attributes: ints, strings (from char arrays), Records, arrays.

    Arrays of structures come as lists of Records. Setting a field changes the underlying bytes.
    """

    __slots__ = ("_array",)

    def __init__(self, array: NDArray[Any]) -> None:
        object.__setattr__(self, "_array", array)

    @classmethod
    def of(cls, dtype: np.dtype[Any], data: bytes | bytearray | None = None) -> Record:
        """A Record over a copy of `data`, or all zero. Raises ValueError if `data` is not exactly one structure."""
        if data is not None and len(data) != dtype.itemsize:
            raise ValueError(f"one structure takes {dtype.itemsize} bytes, not {len(data)}")
        buffer = bytearray(dtype.itemsize if data is None else data)
        return cls(np.frombuffer(buffer, dtype=dtype, count=1).reshape(()))

    def __getattr__(self, name: str) -> Any:
        try:
            return plain(self._array[name])
        except (ValueError, KeyError):
            raise AttributeError(f"no field {name!r}; there are: {', '.join(self.fields())}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.fields():
            raise AttributeError(f"no field {name!r}; there are: {', '.join(self.fields())}")
        target = self._array[name]
        if isinstance(value, Record):
            value = value._array
        elif isinstance(value, str):
            value = value.encode()
        if target.dtype.kind == "S" and len(value) > target.dtype.itemsize:
            raise ValueError(f"{name} holds {target.dtype.itemsize} bytes, not {len(value)}")
        if isinstance(value, bytes | bytearray) and target.dtype.kind == "u" and target.dtype.itemsize == 1:
            value = np.frombuffer(bytes(value), np.uint8)
        if isinstance(value, int) and target.dtype.kind in "ui":
            limits = np.iinfo(target.dtype)
            if not limits.min <= value <= limits.max:
                raise ValueError(f"{name} is {target.dtype.name}: {value:#x} does not fit")
        self._array[name] = value

    def fields(self) -> tuple[str, ...]:
        """The names of the fields, in the order of the declaration."""
        return self._array.dtype.names or ()

    def as_dict(self) -> dict[str, Any]:
        """Every field, structures within as dicts."""
        return {name: _undressed(getattr(self, name)) for name in self.fields()}

    def __bytes__(self) -> bytes:
        return bytes(self._array.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self._array.dtype == other._array.dtype and bytes(self) == bytes(other)

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        return "Record(" + ", ".join(f"{name}={_shown(getattr(self, name))}" for name in self.fields()) + ")"


def plain(value: Any) -> Any:
    """A numpy value as an int, a string, a Record, or a list of Records; arrays of numbers stay what they are."""
    dtype = value.dtype
    if dtype.names is not None:
        return Record(value) if value.ndim == 0 else [_item(value, i) for i in range(len(value))]
    if value.ndim:
        return value
    if dtype.kind == "S":
        return value.item().split(b"\0")[0].decode("utf-8", "backslashreplace")
    return value.item()


def _item(array: Any, index: int) -> Any:
    return plain(array[index : index + 1].reshape(array.shape[1:]))


def _undressed(value: Any) -> Any:
    if isinstance(value, Record):
        return value.as_dict()
    if isinstance(value, list):
        return [_undressed(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def _shown(value: Any) -> str:
    return hex(value) if isinstance(value, int) and value > 9999 else repr(value)


def records(dtype: np.dtype[Any], data: bytes) -> list[Record]:
    """As many whole structures as `data` holds."""
    count = len(data) // dtype.itemsize
    return [Record.of(dtype, data[i * dtype.itemsize : (i + 1) * dtype.itemsize]) for i in range(count)]


class Layouts:
    """The types and variables in one ELF file's debug information. Read when first asked for.

    Args:
        elf: the file; its stream must stay open.
        name: what error messages call it.
    """

    def __init__(self, elf: ELFFile, name: str) -> None:
        self._elf = elf
        self._name = name
        self._dies: dict[tuple[str, str], DIE] | None = None
        self._dtypes: dict[tuple[Any, int], np.dtype[Any]] = {}
        self._enums: dict[str, type[enum.IntEnum]] = {}
        self._constants: dict[str, int] | None = None

    @property
    def present(self) -> bool:
        """Whether the file has debug information at all."""
        return bool(self._elf.has_dwarf_info(strict=True))

    @property
    def producer(self) -> str:
        """What compiled the first unit, by its own words; "" where nothing says so."""
        if not self.present:
            return ""
        for unit in self._elf.get_dwarf_info().iter_CUs():
            told = unit.get_top_DIE().attributes.get("DW_AT_producer")
            if told is not None:
                return str(told.value.decode(errors="replace"))
        return ""

    def _index(self) -> dict[tuple[str, str], DIE]:
        if self._dies is None:
            if not self.present:
                raise ImageError(f"{self._name} has no debug information; build it with -g and don't strip it")
            self._dies = {}
            for unit in self._elf.get_dwarf_info().iter_CUs():
                for die in unit.get_top_DIE().iter_children():
                    if die.tag not in _NAMED_TAGS or "DW_AT_declaration" in die.attributes:
                        continue
                    name = _die_name(die)
                    if name:
                        self._dies.setdefault((die.tag.removeprefix("DW_TAG_"), name), die)
                    elif die.tag == "DW_TAG_enumeration_type":
                        self._dies[("enumeration_type", f"<anonymous {die.offset}>")] = die
        return self._dies

    def _find(self, name: str, *tags: str) -> DIE | None:
        index = self._index()
        return next((index[(tag, name)] for tag in tags if (tag, name) in index), None)

    def has_struct(self, name: str) -> bool:
        """Whether `struct name` is laid out here; False, too, without debug information."""
        return self.present and self._find(name, "structure_type", "union_type", "typedef") is not None

    def struct(self, name: str) -> np.dtype[Any]:
        """The layout of a structure, union or typedef. Raises ImageError if the file has none of that name."""
        die = self._find(name, "structure_type", "union_type", "typedef")
        if die is None:
            raise ImageError(f"{self._name}: its debug information has no structure {name!r}")
        return self._dtype(die)

    def variable(self, name: str) -> np.dtype[Any]:
        """The layout of a global or static variable; an array has its dimensions in `dtype.shape`."""
        die = self._find(name, "variable")
        if die is None or "DW_AT_type" not in die.attributes:
            raise ImageError(f"{self._name}: its debug information has no variable {name!r}")
        return self._dtype(die.get_DIE_from_attribute("DW_AT_type"))

    def enum(self, name: str) -> type[enum.IntEnum]:
        """`enum name` as an IntEnum; the members bear their names in C."""
        if name not in self._enums:
            die = self._find(name, "enumeration_type")
            if die is None:
                raise ImageError(f"{self._name}: its debug information has no enumeration {name!r}")
            make: Any = enum.IntEnum
            self._enums[name] = make(name, dict(_enumerators(die)))
        return self._enums[name]

    def has_enum(self, name: str) -> bool:
        """Whether `enum name` is described here; False, too, without debug information."""
        return self.present and self._find(name, "enumeration_type") is not None

    def constant(self, name: str) -> int:
        """The value of an enumerator of whatever enumeration."""
        if self._constants is None:
            self._constants = {}
            for (tag, _), die in self._index().items():
                if tag == "enumeration_type":
                    self._constants.update(_enumerators(die))
        if name not in self._constants:
            raise ImageError(f"{self._name}: its debug information has no enumerator {name!r}")
        return self._constants[name]

    def _dtype(self, die: DIE) -> np.dtype[Any]:
        key = (die.cu, die.offset)
        if key not in self._dtypes:
            self._dtypes[key] = self._make_dtype(die)
        return self._dtypes[key]

    def _make_dtype(self, die: DIE) -> np.dtype[Any]:
        tag = die.tag
        if tag in _TRANSPARENT_TAGS:
            if "DW_AT_type" not in die.attributes:
                raise ImageError(f"{self._name}: {_die_name(die) or tag} is void and has no layout")
            return self._dtype(die.get_DIE_from_attribute("DW_AT_type"))
        if tag == "DW_TAG_base_type":
            return _base_dtype(die)
        if tag == "DW_TAG_pointer_type":
            return np.dtype(f"<u{self._elf.elfclass // 8}")
        if tag == "DW_TAG_enumeration_type":
            return np.dtype(f"<u{die.attributes['DW_AT_byte_size'].value}")
        if tag == "DW_TAG_array_type":
            return self._array_dtype(die)
        if tag in ("DW_TAG_structure_type", "DW_TAG_union_type"):
            return self._struct_dtype(die)
        raise ImageError(f"{self._name}: a {tag} ({_die_name(die) or 'unnamed'}) can't be laid out here")

    def _array_dtype(self, die: DIE) -> np.dtype[Any]:
        element_die = die.get_DIE_from_attribute("DW_AT_type")
        element = self._dtype(element_die)
        shape = [_count(child) for child in die.iter_children() if child.tag == "DW_TAG_subrange_type"]
        if _is_char(element_die) and shape[-1]:
            element = np.dtype(f"S{shape.pop()}")
        return np.dtype((element, tuple(shape))) if shape else element

    def _struct_dtype(self, die: DIE) -> np.dtype[Any]:
        if "DW_AT_declaration" in die.attributes:
            whole = self._find(_die_name(die), "structure_type", "union_type")
            if whole is None:
                raise ImageError(f"{self._name}: structure {_die_name(die)!r} is only declared")
            return self._dtype(whole)
        names, formats, offsets = [], [], []
        for member in die.iter_children():
            # Bit fields have no address of their own; the structures that cross an interface have none.
            if member.tag != "DW_TAG_member" or "DW_AT_bit_size" in member.attributes:
                continue
            offset = member.attributes["DW_AT_data_member_location"].value if (
                "DW_AT_data_member_location" in member.attributes) else 0  # fmt: skip
            layout = self._dtype(member.get_DIE_from_attribute("DW_AT_type"))
            name = _die_name(member)
            if name:
                names.append(name)
                formats.append(layout)
                offsets.append(offset)
            elif layout.fields is not None:  # an anonymous structure or union: its fields are ours
                for inner, entry in layout.fields.items():
                    names.append(inner)
                    formats.append(entry[0])
                    offsets.append(offset + entry[1])
        size = die.attributes["DW_AT_byte_size"].value
        return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def _die_name(die: DIE) -> str:
    attribute = die.attributes.get("DW_AT_name")
    return attribute.value.decode() if attribute is not None else ""


def _peel(die: DIE) -> DIE:
    while die.tag in _TRANSPARENT_TAGS and "DW_AT_type" in die.attributes:
        die = die.get_DIE_from_attribute("DW_AT_type")
    return die


def _is_char(die: DIE) -> bool:
    base = _peel(die)
    return base.tag == "DW_TAG_base_type" and _die_name(base) == "char"


def _base_dtype(die: DIE) -> np.dtype[Any]:
    size = die.attributes["DW_AT_byte_size"].value
    encoding = die.attributes["DW_AT_encoding"].value
    if size > 8:  # __int128: its two halves, the lower first
        return np.dtype(("<u8", (size // 8,)))
    kind = "f" if encoding == _FLOAT else "i" if encoding in _SIGNED and _die_name(die) != "char" else "u"
    return np.dtype(f"<{kind}{size}")


def _count(subrange: DIE) -> int:
    attributes = subrange.attributes
    if "DW_AT_count" in attributes:
        return int(attributes["DW_AT_count"].value)
    upper = attributes.get("DW_AT_upper_bound")
    return int(upper.value) + 1 if upper is not None and isinstance(upper.value, int) else 0


def _enumerators(die: DIE) -> Iterator[tuple[str, int]]:
    for child in die.iter_children():
        if child.tag == "DW_TAG_enumerator":
            yield _die_name(child), int(child.attributes["DW_AT_const_value"].value)
