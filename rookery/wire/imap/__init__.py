"""IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051) as functions of bytes: commands in, responses out. No sessions."""
