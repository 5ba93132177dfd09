"""Tier 3: how users and systems talk to Rookery: login, IMAP, SMTP, LMTP."""
