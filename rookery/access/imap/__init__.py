"""IMAP4rev1 and IMAP4rev2: sessions over the engine of `rookery.wire.imap` and the store's open accounts."""

from rookery.access.imap.serve import serve_imap, services
from rookery.access.imap.settings import ImapSettings

__all__ = ["ImapSettings", "serve_imap", "services"]
