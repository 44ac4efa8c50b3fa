"""One row of somebody's data with the place it stands at, and the error that names that place."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """The fields of one row, and where it stands: the file as the user named it, and the line or row, from 1."""

    file: str
    line: int
    fields: dict[str, Any]

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"{self.file}, line {self.line}"

    def error(self, expected: str, found: str, field: str = "") -> "DataError":
        """An error about this row."""
        return DataError(self.file, expected, found, line=self.line, field=field)


class DataError(ValueError):
    """Data that cannot be used: names the file, the line, the field, what was expected and what was found."""

    def __init__(self, file: str, expected: str, found: str, *, line: int | None = None, field: str = "") -> None:
        place = file if line is None else f"{file}, line {line}"
        about = f", field {field!r}" if field else ""
        super().__init__(f"{place}{about}: expected {expected}, found {found}")
        self.place = place
        self.file, self.line, self.field, self.expected, self.found = file, line, field, expected, found

    def __reduce__(self) -> Any:
        """Pickle by the arguments, which include keywords."""
        return _data_error, (self.file, self.expected, self.found, self.line, self.field)


def _data_error(file: str, expected: str, found: str, line: int | None, field: str) -> DataError:
    return DataError(file, expected, found, line=line, field=field)
