"""Tier 2: how a user's mailbox is found: directory, authentication, routing, queue, delivery."""
