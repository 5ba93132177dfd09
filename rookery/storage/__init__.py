"""Tier 1: how and where mailboxes are kept. Rules are plain functions over a transaction (see writer.py)."""
