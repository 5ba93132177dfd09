"""The command `rookery`: parses, calls one operation, prints. Nothing is decided here.

main.py      the command tree and how errors become exit codes (0 ok, 1 refused or failed, 2 usage)
output.py    tables, JSON, amounts and times as people read them
*_commands   one file a family
"""
