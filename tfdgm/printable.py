def printable(text):
    """Text with every character escaped that a terminal would not show but obey, or cannot print; lines stay."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))
