"""Pure functions between bytes and values: headers, MIME, addresses, dates, DSNs. No I/O, no clock."""
