"""Nodes that speak with clients until these have logged in, then hand them over; they hold no mail and no secrets."""
