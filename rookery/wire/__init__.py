"""Protocol engines without socket, clock or file: bytes in, events out; replies in, bytes out."""
