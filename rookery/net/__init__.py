"""The only code that listens and dials: streams, TLS, limits, resolver, the pump between engine and stream."""
