"""What the clients do. Each load returns work done per second, the same code against every server."""
