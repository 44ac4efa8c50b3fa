"""The sources that can be imported, by the name that the command line has for them."""

from bench.imports.importer import Importer
from bench.imports.peft_method_comparison import IMPORTER as PEFT

IMPORTERS: dict[str, Importer] = {importer.name: importer for importer in (PEFT,)}
