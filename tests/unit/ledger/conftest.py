from tests.unit.toil.conftest import plant, world

__all__ = ["plant", "world"]
