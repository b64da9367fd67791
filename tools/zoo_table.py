"""Prints the zoo's cards as a Markdown table; --write README.md replaces what stands between its zoo marks."""

import argparse
import pathlib
import re

from tfdgm.zoo import cards, entries

START, END = "<!-- zoo -->", "<!-- /zoo -->"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", metavar="FILE", type=pathlib.Path, help=f"replace the text between {START} and {END}")
    arguments = parser.parse_args()
    table = cards.table([cards.Card.of(name) for name in entries.names()], markdown=True)
    if arguments.write is None:
        print(table, end="")
        return
    text = arguments.write.read_text()
    if text.count(START) != 1 or text.count(END) != 1:
        parser.error(f"{arguments.write} must hold {START} and {END} once each.")
    new = re.sub(f"{START}.*?{END}", lambda _: f"{START}\n{table}{END}", text, flags=re.DOTALL)
    arguments.write.write_text(new)


if __name__ == "__main__":
    main()
