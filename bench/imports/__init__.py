"""Results that others published, read into records that say so. Standard library only.

Each source is one module with an `Importer`; `bench.imports.registry` names them.
"""
