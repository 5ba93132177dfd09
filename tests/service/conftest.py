from tests.auth.conftest import hasher, site

__all__ = ["hasher", "site"]
