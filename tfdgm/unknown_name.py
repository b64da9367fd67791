import difflib


def unknown_name(what, name, known):
    """The message for a name that is not known: names the nearest and all there are."""
    known = sorted(known)
    return f"There is no {what} {name!r}.{did_you_mean(name, known)} Known: {', '.join(known) or 'none'}."


def did_you_mean(name, known):
    """ " Did you mean 'x'?" of the nearest name, or nothing where none is near."""
    by_lower_case = {k.lower(): k for k in known}
    near = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1, cutoff=0.5)
    return f" Did you mean {by_lower_case[near[0]]!r}?" if near else ""
