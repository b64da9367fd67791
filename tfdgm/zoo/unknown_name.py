import difflib


def unknown_name(what, name, known):
    """The message for a name that is not known: names the nearest and all there are."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name).lower(), [k.lower() for k in known], n=1, cutoff=0.5)
    suggestion = next((k for k in known if near and k.lower() == near[0]), None)
    hint = f" Did you mean {suggestion!r}?" if suggestion else ""
    return f"There is no {what} {name!r}.{hint} Known: {', '.join(known) or 'none'}."
